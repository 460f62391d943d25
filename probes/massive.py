"""Where massive activations form: decoder layers whose output has one and whose input has not, or a smaller one."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from workbench.counts import token_index
from workbench.errors import WorkbenchError

if TYPE_CHECKING:
    from workbench.store import Store


class MassiveRule(NamedTuple):
    """When a hidden state has a massive activation, and when a layer forms one. All of it ours.

    A state is massive when its largest |value| exceeds `absolute` and `ratio` times the median |value| (quoted from memory
    of Sun et al., arXiv 2402.17762). A layer forms one when, for some token, its output is massive and either its input is
    not, or the output's largest value is at least `growth` times the input's (None: the first alone). Published super
    experts lie in several layers (Qwen3-30B-A3B: 1, 2, 3), so the first crossing alone is too narrow.
    """

    absolute: float = 100.0
    ratio: float = 1000.0
    growth: float | None = 1.2


def forming_layers(store: "Store", rule: MassiveRule) -> tuple[int, ...]:
    """Decoder layers that form massive activations, from the residual table (layer -1 is the embedding output).

    Raises `WorkbenchError` when the store kept no residual table.
    """
    if not store.has("residual"):
        raise WorkbenchError(
            f"The store '{store.path}' kept no residual, which says where massive activations form; capture it again with "
            f"keep={{'norms', 'residual'}}."
        )
    before = _state(store, -1, rule)
    found: list[int] = []
    for layer in range(len(store.anatomy.layers)):
        state = _state(store, layer, rule)
        formed = state.massive & ~before.massive
        if rule.growth is not None:
            formed |= state.massive & (state.max_abs >= rule.growth * before.max_abs)
        if formed.any():
            found.append(layer)
        before = state
    return tuple(found)


class _State(NamedTuple):
    max_abs: np.ndarray  # [rows of store.tokens], 0 where the token was not computed
    massive: np.ndarray  # bool [rows of store.tokens]


def _state(store: "Store", layer: int, rule: MassiveRule) -> _State:
    index = token_index(store)
    max_abs, median = np.zeros(index.n_rows), np.zeros(index.n_rows)
    for batch in store.scan("residual", ["prompt_id", "sample", "position", "max_abs", "median_abs"], [layer]):
        rows = index.rows(batch)
        max_abs[rows] = batch.column("max_abs").to_numpy(zero_copy_only=False)
        median[rows] = batch.column("median_abs").to_numpy(zero_copy_only=False)
    max_abs[~np.isfinite(max_abs) | ~np.isfinite(median)] = 0.0  # no state to judge: the notes say where
    return _State(max_abs, (max_abs > rule.absolute) & (max_abs > rule.ratio * median))
