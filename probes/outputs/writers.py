"""What the experts write into a massive activation, token by token, as far as a store knows; and who writes one together."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from probes.magnitudes import MassiveRule, massive_activations
from probes.ranking import refs_of
from workbench.anatomy import ExpertRef
from workbench.resample import joined
from workbench.store import token_index

if TYPE_CHECKING:
    from workbench.store import Store

_SLOTS = ("prompt_id", "sample", "position", "expert", "weight", "output_max_abs", "output_argmax")
_KEY = ["prompt_id", "sample", "position"]


def writers_of(store: "Store", massive: MassiveRule | None = None) -> pd.DataFrame:
    """What every expert that a token received adds to the massive activation that its layer forms there.

        wrote = routing weight x |output|, where the expert's largest output lies in the massive channel

    layer, prompt_id, sample, position, channel, size (|h| there after the layer), expert, is_shared, at_most (weight x largest
    |output|, whatever its channel), wrote (the same in the massive channel; null where the expert's largest value lies in
    another: it then writes `at_most` or less) and share (wrote / size). The largest first, token by token.

    A store tells sizes: no signs, neither what attention wrote nor what was there before, and not what a norm behind the
    experts (Gemma's) or a factor of the layer makes of it. `workbench.attribution.writers` runs the model and tells all that.
    Raises `WorkbenchError` when the store kept no residual.
    """
    formed: Any = massive_activations(store, massive or MassiveRule())
    received = [_received(store, int(layer), rows) for layer, rows in formed.groupby("layer")]
    tokens: Any = store.tokens[_KEY].reset_index(drop=True)
    if not received:
        received = [_received(store, -1, formed)]
    found: Any = pd.concat(received, ignore_index=True)
    found = pd.concat([tokens.loc[found["row"]].reset_index(drop=True), found], axis=1)
    found = found.sort_values(["layer", "row", "at_most"], ascending=[True, True, False], kind="stable")
    columns = ["layer", *_KEY, "channel", "size", "expert", "is_shared", "at_most", "wrote", "share"]
    return found[columns].reset_index(drop=True)


def _received(store: "Store", layer: int, formed: pd.DataFrame) -> pd.DataFrame:
    """The experts that the tokens of `formed` received in a layer."""
    index, parts = token_index(store), list[Any]()
    for batch in store.scan("slots", _SLOTS, [layer]) if layer >= 0 else ():
        rows = index.rows(batch)
        here = np.isin(rows, formed["row"])
        parts.append(batch.select(_SLOTS[3:]).to_pandas()[here].assign(row=rows[here]))
    columns = ["row", *_SLOTS[3:]]
    slots = pd.concat(parts) if parts else pd.DataFrame(columns=columns).astype(float)
    found: Any = slots.merge(formed[["row", "channel", "size"]], on="row")
    at_most = found["weight"] * found["output_max_abs"]
    wrote = at_most.where((found["output_argmax"] == found["channel"]) & (found["channel"] >= 0))
    number, is_shared = found["expert"].astype(int), found["expert"] < 0
    return pd.DataFrame(
        {
            "layer": layer,
            "row": found["row"].astype(int),
            "channel": found["channel"].astype(int),
            "size": found["size"],
        }
        | {"expert": number.where(~is_shared, -1 - number), "is_shared": is_shared}
        | {"at_most": at_most, "wrote": wrote, "share": wrote / found["size"]}
    )


class WritingGroup(NamedTuple):
    """Experts that write the same massive activation: one channel of the same tokens."""

    experts: tuple[ExpertRef, ...]
    """The largest share first."""
    shares: tuple[float, ...]
    """Of |h| behind the last of them; the median over the tokens that the expert writes into. Sizes: signs are not known."""
    channels: tuple[int, ...]

    def __str__(self) -> str:
        each = ", ".join(f"{ref} ({share:.0%})" for ref, share in zip(self.experts, self.shares, strict=True))
        return f"{each} in channel {', '.join(map(str, self.channels))}"


def writing_groups(written: pd.DataFrame, experts: Sequence[ExpertRef]) -> tuple[WritingGroup, ...]:
    """Which of `experts` write a massive activation together, by the table of `writers_of`; the largest group first.

    Two belong together where both wrote into one channel of one token, in whatever layers. One alone is no group.
    """
    rows: Any = written.dropna(subset=["wrote"])
    rows = rows.assign(ref=refs_of(rows))
    rows = rows[rows["ref"].isin(experts)]
    if rows.empty:
        return ()
    place = list(zip(*(rows[name] for name in (*_KEY, "channel")), strict=True))
    rows = rows.assign(last=rows.groupby([*_KEY, "channel"], observed=True)["size"].transform("last"))
    parts = rows.groupby(joined(rows["ref"].tolist(), place))
    found = [_group(part, experts) for _, part in parts if part["ref"].nunique() > 1]
    return tuple(sorted(found, key=lambda group: -len(group.experts)))


def _group(rows: Any, experts: Sequence[ExpertRef]) -> WritingGroup:
    shares = (rows["wrote"] / rows["last"]).groupby(rows["ref"]).median()
    known = sorted((ref for ref in experts if ref in shares.index), key=lambda ref: -shares[ref])
    channels = tuple(sorted(int(c) for c in rows["channel"].unique()))
    return WritingGroup(tuple(known), tuple(float(shares[ref]) for ref in known), channels)
