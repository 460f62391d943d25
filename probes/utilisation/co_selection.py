"""Which experts of one layer are selected together."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from probes.reading import Tokens, routed_units
from workbench.errors import WorkbenchError

if TYPE_CHECKING:
    from workbench.store import Store


def co_selection(
    store: "Store",
    layer: int,
    *,
    tokens: Tokens | np.ndarray = "content",
    roles: str | list[str] | None = None,
    where: str | None = None,
) -> pd.DataFrame:
    """Share of the tokens read that select both experts of one layer: a symmetric frame, experts by experts.

    The diagonal is each expert's own rate. Two experts that are chosen independently would show the product of their
    rates; with top-k routing every pair competes for slots, so even routing shows less. Range [0, 1]. By default
    the chat template's tokens are left out.
    """
    if layer not in store.layers:
        raise WorkbenchError(
            f"Layer {layer} of '{store.path}' has no slots; it has layers {', '.join(map(str, store.layers))}."
        )
    group, _ = routed_units(store, tokens, roles, where)
    expert = store.routing(layer).expert[group >= 0]
    n = store.anatomy.layer(layer).n_experts
    chosen = np.zeros((len(expert), n), np.float32)
    row, slot = np.nonzero(expert >= 0)  # an empty slot is no expert
    chosen[row, expert[row, slot]] = 1
    together = chosen.T @ chosen / len(expert)
    numbers = pd.RangeIndex(n, name="expert")
    return pd.DataFrame(together.astype(np.float64), index=numbers, columns=numbers)
