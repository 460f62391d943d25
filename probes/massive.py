"""Where massive activations form: decoder layers whose output has one and whose input has not, or a smaller one."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from workbench.errors import WorkbenchError

if TYPE_CHECKING:
    from workbench.store import Store

_KEY = ["prompt_id", "sample", "position"]


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
    found: list[int] = []
    for layer in range(len(store.anatomy.layers)):
        states = store.table("residual", [*_KEY, "layer", "max_abs", "median_abs"], [layer - 1, layer])
        if len(states) and _forms(states, layer, rule):
            found.append(layer)
    return tuple(found)


def _forms(states: pd.DataFrame, layer: int, rule: MassiveRule) -> bool:
    is_massive = (states["max_abs"] > rule.absolute) & (states["max_abs"] > rule.ratio * states["median_abs"])
    states = states.assign(massive=is_massive)
    output = states[(states["layer"] == layer) & is_massive]
    if output.empty:
        return False
    both = output.merge(states[states["layer"] == layer - 1], on=_KEY, suffixes=("", "_before"))
    formed = ~both["massive_before"].to_numpy(bool)
    if rule.growth is not None:
        formed |= (both["max_abs"] >= rule.growth * both["max_abs_before"]).to_numpy(bool)
    return bool(np.any(formed))
