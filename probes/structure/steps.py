"""Who is selected in one MoE layer and in the next: counted token by token, a token's routed set once for each two layers."""

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from workbench.errors import WorkbenchError, listed

if TYPE_CHECKING:
    from workbench.store import Store

_BLOCK = 1 << 16  # tokens at once: sums of 0 and 1 in float32 are exact up to 2^24


class Step(NamedTuple):
    """Tokens from one MoE layer to the next."""

    layer: int
    other: int
    both: np.ndarray
    """[experts, experts of the other] int64 tokens that selected both."""
    n: np.ndarray
    """[experts] int64 tokens that selected it."""
    n_other: np.ndarray


def consecutive(store: "Store") -> tuple[tuple[int, int], ...]:
    """The pairs of captured layers between which no other MoE layer lies; dense layers between them do not part them.

    Raises `WorkbenchError` when there is none.
    """
    order = store.anatomy.moe_layers
    found = tuple((a, b) for a, b in pairwise(order) if a in store.layers and b in store.layers)
    if not found:
        raise WorkbenchError(
            f"'{store.path}' has no two MoE layers that follow each other: of {listed(list(order))} it has "
            f"{listed(list(store.layers)) or 'none'}; capture two neighbours."
        )
    return found


def selected(store: "Store", layer: int, read: np.ndarray) -> np.ndarray:
    """Bool [tokens read, experts] who was selected; read: bool over `store.tokens`. An empty slot is no expert."""
    expert = store.routing(layer).expert[read]
    out = np.zeros((len(expert), store.anatomy.layer(layer).n_experts), bool)
    row, slot = np.nonzero(expert >= 0)
    out[row, expert[row, slot]] = True
    return out


def steps(store: "Store", read: np.ndarray) -> Iterator[Step]:
    """The counts between every two consecutive layers, from the first; two layers are held at a time."""
    last, before = -1, np.zeros((0, 0), bool)
    for layer, other in consecutive(store):
        before = before if layer == last else selected(store, layer, read)
        after = selected(store, other, read)
        yield Step(layer, other, together(before, after), before.sum(axis=0), after.sum(axis=0))
        last, before = other, after


def together(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """[experts, other experts] int64 in how many rows both are true."""
    out = np.zeros((before.shape[1], after.shape[1]), np.int64)
    for i in range(0, len(before), _BLOCK):
        a, b = (some[i : i + _BLOCK].astype(np.float32) for some in (before, after))
        out += (a.T @ b).astype(np.int64)
    return out
