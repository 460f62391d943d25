"""Where values are not finite: counted by sequence, layer and expert as a batch is captured, and said in one sentence.

A broken weight, an overflow in fp16 or a bad scale makes one expert write NaN or infinity, and everything behind it. A token's
output counts as the expert's *own* doing when the layer's routing weights of that token are finite: what went in was finite.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from workbench.errors import listed
from workbench.experts import ExpertRef

STAGES = ("router_logits", "weight", "output", "routed_change", "residual", "logits")
"""What is looked at, in the order in which a layer computes it; `logits` are the vocabulary's, one layer above the last."""
COLUMNS = ("sequence", "layer", "what", "expert", "n_tokens", "n_own", "first_position")
_NAMED = 4
_SAID = {"weight": "routing weight", "router_logits": "router logit", "logits": "next-token logits"}
Fields = Mapping[str, np.ndarray]
"""A layer's arrays [tokens, ...] by name, as in `workbench.harvest.Chunk`."""


class Spot(NamedTuple):
    """Tokens of one layer with a value that is not finite: rows [n], their experts [n] and whether it is the expert's own."""

    layer: int
    what: str
    rows: np.ndarray
    expert: np.ndarray | None = None
    own: np.ndarray | None = None


def not_finite(
    layers: Mapping[int, Fields], residual: Mapping[int, Fields], sequence: np.ndarray, position: np.ndarray
) -> pd.DataFrame:
    """`COLUMNS`, a row per sequence, layer, quantity and expert (null where it is no expert's); mostly empty.

    sequence, position: [tokens] of the arrays in `layers` and `residual`.
    """
    routed = (spot for layer, fields in layers.items() for spot in _routed(layer, fields))
    stream = (spot for layer, fields in residual.items() for spot in _stream(layer, fields))
    found = [_counted(spot, sequence, position) for spot in (*routed, *stream) if len(spot.rows)]
    return pd.concat(found, ignore_index=True) if found else _typed(pd.DataFrame(columns=list(COLUMNS)))


def logits_not_finite(
    layer: int, sequence: np.ndarray, first: np.ndarray, logprobs: Iterable[Iterable[float]]
) -> pd.DataFrame:
    """The same for next-token logits, by the log-probabilities of a response's tokens: NaN where a logit is NaN or +inf.

    layer: one above the last decoder layer. sequence, first: [responses] number, and the position that made its first token.
    """
    bad = [np.flatnonzero(~np.isfinite(np.asarray(list(row), np.float64))) for row in logprobs]
    rows = np.repeat(np.arange(len(bad)), [len(x) for x in bad])
    position = first[rows] + np.concatenate([*bad, np.zeros(0, np.int64)])
    if not len(rows):
        return _typed(pd.DataFrame(columns=list(COLUMNS)))
    return _counted(Spot(layer, "logits", np.arange(len(rows))), sequence[rows], position.astype(np.int64))


def _routed(layer: int, fields: Fields) -> Iterator[Spot]:
    if "logits" in fields:
        rows, expert = _bad(fields["logits"])
        yield Spot(layer, "router_logits", rows, expert)
    rows, slot = _bad(fields["weight"])
    yield Spot(layer, "weight", rows, fields["expert"][rows, slot])
    if "output_l2" in fields:  # a norm is finite only where every value is
        rows, slot = _bad(fields["output_l2"])
        yield Spot(layer, "output", rows, fields["expert"][rows, slot], _is_own(fields, rows))
    elif "outputs" in fields:
        at = np.unique(_bad(fields["outputs"])[0])
        rows = fields["outputs_row"][at]
        yield Spot(layer, "output", rows, fields["outputs_expert"][at], _is_own(fields, rows))
    yield from _shared(layer, fields)


def _shared(layer: int, fields: Fields) -> Iterator[Spot]:
    for s in range(sum(name.startswith("shared") and name.endswith("_weight") for name in fields)):
        (rows,) = _bad(fields[f"shared{s}_weight"])
        yield Spot(layer, "weight", rows, np.full(len(rows), -1 - s))
        of = next((f for f in (f"shared{s}_output_l2", f"shared{s}_outputs") if f in fields), None)
        if of is not None:
            rows = np.unique(_bad(fields[of])[0])
            yield Spot(layer, "output", rows, np.full(len(rows), -1 - s), _is_own(fields, rows))


def _bad(values: np.ndarray) -> tuple[np.ndarray, ...]:
    """Where values are not finite, as `np.nonzero` says it: which is ten times slower than to see that there are none."""
    bad = ~np.isfinite(values)
    return np.nonzero(bad) if bad.any() else tuple(np.zeros(0, np.int64) for _ in values.shape)


def _is_own(fields: Fields, rows: np.ndarray) -> np.ndarray:
    """Bool [rows]: whether the layer's routing weights of the token are finite, and so was what went into its experts."""
    return np.asarray(np.isfinite(fields["weight"][rows]).all(axis=1))


def _stream(layer: int, fields: Fields) -> Iterator[Spot]:
    if "routed_change" in fields:
        yield Spot(layer, "routed_change", _bad(fields["routed_change"])[0])
    if "l2" in fields:
        yield Spot(layer, "residual", _bad(fields["l2"])[0])


def _counted(spot: Spot, sequence: np.ndarray, position: np.ndarray) -> pd.DataFrame:
    """The spot's rows of `COLUMNS`."""
    expert = np.zeros(len(spot.rows), np.int64) if spot.expert is None else spot.expert
    own = np.zeros(len(spot.rows), bool) if spot.own is None else spot.own
    columns = {"sequence": sequence[spot.rows], "expert": expert, "position": position[spot.rows], "own": own}
    groups: Any = pd.DataFrame(columns).groupby(["sequence", "expert"], sort=True)
    found: Any = groups.agg(n_tokens=("own", "size"), n_own=("own", "sum"), first_position=("position", "min"))
    found = found.reset_index().assign(layer=spot.layer, what=spot.what)
    if spot.expert is None:
        found["expert"] = pd.NA
    if spot.own is None:
        found["n_own"] = pd.NA
    return _typed(found[list(COLUMNS)])


def _typed(frame: pd.DataFrame) -> pd.DataFrame:
    numbers = dict.fromkeys(("sequence", "layer", "n_tokens", "first_position"), "int64")
    return frame.astype({**numbers, "what": "object", "expert": "Int32", "n_own": "Int64"})


# ---- saying it


def said(frame: Any) -> str:
    """Where values are not finite, in one sentence: the first layer with its experts, and how far it spread; "" for none.

    `frame` (a DataFrame) has layer, what, expert, n_tokens and n_own of `COLUMNS`, as `Store.nonfinite` has.
    """
    if not len(frame):
        return ""
    at = int(frame["layer"].min())
    first, rest = frame[frame["layer"] == at], frame[frame["layer"] > at]
    parts = [_phrase(first[first["what"] == what], what) for what in STAGES if (first["what"] == what).any()]
    others, later = own_experts(rest), sorted({int(layer) for layer in rest["layer"]})
    return (
        f"Values are not finite, first {'in the embeddings' if at < 0 else f'in layer {at}'}: {', '.join(parts)}"
        + (f"; of finite inputs also by {listed(others, _NAMED)}" if others else "")
        + (f"; and in {len(later)} layers above" if later else "")
        + "."
    )


def own_experts(frame: Any) -> tuple[ExpertRef, ...]:
    """The experts that made such values from finite inputs, in order of layer and number."""
    return _refs(frame[(frame["what"] == "output") & (frame["n_own"].fillna(0) > 0)])


def experts_with(frame: Any) -> tuple[ExpertRef, ...]:
    """Every expert with a value of its own that is not finite: an output, a routing weight, a router logit."""
    return _refs(frame[frame["expert"].notna()])


def _phrase(rows: Any, what: str) -> str:
    """What is not finite, whose, and at how many tokens; of outputs those whose input was finite, where there are any."""
    name = _SAID.get(what, what)
    if rows["expert"].isna().all():
        return f"{name} at {int(rows['n_tokens'].sum())} tokens"
    own = rows[rows["n_own"].fillna(0) > 0]
    totals: Any = (own if len(own) else rows).groupby(["layer", "expert"], sort=True)["n_tokens"].sum()
    return f"{name} of {listed([f'{_ref(*key)} at {n} tokens' for key, n in totals.items()], _NAMED)}"


def _refs(rows: Any) -> tuple[ExpertRef, ...]:
    pairs = zip(rows["layer"], rows["expert"], strict=True)
    return tuple(sorted({_ref(layer, number) for layer, number in pairs}))


def _ref(layer: Any, number: Any) -> ExpertRef:
    """The expert that a store numbers so: shared expert s is -1 - s."""
    return ExpertRef(int(layer), int(number) if number >= 0 else -1 - int(number), bool(number < 0))
