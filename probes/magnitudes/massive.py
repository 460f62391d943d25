"""Where massive activations form: decoder layers whose output has one and whose input has not, or a smaller one."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np
import pandas as pd

from workbench.errors import WorkbenchError
from workbench.store import token_index

if TYPE_CHECKING:
    from workbench.store import Store


Against = Literal["ordinary", "own"]


class MassiveRule(NamedTuple):
    """When a hidden state has a massive activation, and when a layer forms one. All of it ours.

    A state is massive when its largest |value| exceeds `absolute`, and `ratio` times an ordinary |value| of its layer: the
    median over the layer's tokens of each token's median |value|. `against="own"` takes the token's own median instead, as
    Sun et al. do (arXiv 2402.17762, quoted from memory); but what writes a massive activation raises the other channels of
    that token too: SmolLM2-135M's 22,550 are 12,900 times an ordinary |value| and 500 times the token's own median.

    A layer forms one when, for some token, its output is massive and larger than its input, and either its input is not
    massive or the output's largest value is at least `growth` times the input's (None: the first alone). Published super
    experts lie in several layers (Qwen3-30B-A3B: 1, 2, 3), so the first crossing alone is too narrow.
    """

    absolute: float = 100.0
    ratio: float = 1000.0
    growth: float | None = 1.2
    against: Against = "ordinary"

    def __str__(self) -> str:
        median = "the median |h| of the layer's tokens" if self.against == "ordinary" else "the token's own median |h|"
        return f"|h| > {self.absolute:g} and > {self.ratio:g} x {median}"


def rule_from(saved: Sequence[Any]) -> MassiveRule:
    """The rule in a ranking's options. Three values: a ranking of before the ordinary tokens, judged by their own median."""
    return MassiveRule(*saved) if len(saved) > 3 else MassiveRule(*saved, against="own")


def forming_layers(store: "Store", rule: MassiveRule) -> tuple[int, ...]:
    """Decoder layers that form massive activations; raises what `massive_activations` raises."""
    return tuple(int(layer) for layer in massive_activations(store, rule)["layer"].unique())


def massive_activations(store: "Store", rule: MassiveRule) -> pd.DataFrame:
    """Every massive activation that a decoder layer forms, from the residual table (layer -1 is the embedding output).

    layer, row (of store.tokens), channel (-1 where the store does not know it), size (|h| after the layer), before (the token's
    largest |h| as it enters the layer, in whatever channel).
    Raises `WorkbenchError` when the store kept no residual table, and when the rule compares with nothing that is known.
    """
    if rule.against not in get_args(Against):
        raise WorkbenchError(
            f"MassiveRule(against='{rule.against}') is not known; it can be {', '.join(get_args(Against))}."
        )
    if not store.has("residual"):
        raise WorkbenchError(
            f"The store '{store.path}' kept no residual, which says where massive activations form; capture it again with "
            f"keep={{'norms', 'residual'}}."
        )
    before = _state(store, -1, rule)
    found: list[pd.DataFrame] = []
    for layer in range(len(store.anatomy.layers)):
        state = _state(store, layer, rule)
        rows = np.flatnonzero(_formed(before, state, rule))
        sizes = {"channel": state.channel[rows], "size": state.max_abs[rows], "before": before.max_abs[rows]}
        found.append(pd.DataFrame({"layer": layer, "row": rows, **sizes}))
        before = state
    return pd.concat(found, ignore_index=True)


class _State(NamedTuple):
    channel: np.ndarray  # [rows of store.tokens] of the largest |value|, -1 where it is not known
    max_abs: np.ndarray  # [rows of store.tokens], 0 where the token was not computed
    massive: np.ndarray  # bool [rows of store.tokens]


def _formed(before: _State, after: _State, rule: MassiveRule) -> np.ndarray:
    """Bool [rows]: the layer made this token's activation massive, or a massive one larger by `growth`."""
    new = ~before.massive
    if rule.growth is not None:
        new |= after.max_abs >= rule.growth * before.max_abs
    return after.massive & (after.max_abs > before.max_abs) & new


def _state(store: "Store", layer: int, rule: MassiveRule) -> _State:
    index = token_index(store)
    max_abs, median = np.zeros(index.n_rows), np.full(index.n_rows, np.nan)
    channel = np.full(index.n_rows, -1)
    for batch in store.scan(
        "residual", ["prompt_id", "sample", "position", "max_abs", "median_abs", "argmax"], [layer]
    ):
        rows = index.rows(batch)
        channel[rows] = batch.column("argmax").fill_null(-1).to_numpy(zero_copy_only=False)
        max_abs[rows] = batch.column("max_abs").to_numpy(zero_copy_only=False)
        median[rows] = batch.column("median_abs").to_numpy(zero_copy_only=False)
    max_abs[~np.isfinite(max_abs) | ~np.isfinite(median)] = 0.0  # no state to judge: the notes say where
    scale = median if rule.against == "own" else _ordinary(median)
    return _State(channel, max_abs, (max_abs > rule.absolute) & (max_abs > rule.ratio * scale))


def _ordinary(median: np.ndarray) -> float:
    """The median over the tokens that were computed; the few massive ones hardly move it."""
    computed = median[np.isfinite(median)]
    return float(np.median(computed)) if len(computed) else np.inf
