"""The null of a token score: within each sequence, markers fall on other positions.

Routing is autocorrelated, so shuffling single positions would make every run of alike tokens look like evidence. Instead
all markers of a sequence move together by one random step around a circle; their distances to each other stay.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from workbench.store import Store


class Circle(NamedTuple):
    """One sequence with markers: the rows read, in order, and the value a marker gives to each (0 where there is none)."""

    rows: np.ndarray
    value: np.ndarray


def circles(sequence: np.ndarray, read: np.ndarray, value: np.ndarray) -> list[Circle]:
    """The sequences that have a marker among the tokens read; `value` is over all rows of store.tokens."""
    found: list[Circle] = []
    rows = np.flatnonzero(read)
    for part in np.split(rows, np.flatnonzero(np.diff(sequence[rows])) + 1):
        if len(part) and value[part].any():
            found.append(Circle(part, value[part]))
    return found


def shifted_sums(
    store: "Store",
    places: list[Circle],
    n: int,
    rng: np.random.Generator,
    rates: Callable[[int], Callable[[np.ndarray], np.ndarray]] | None = None,
) -> np.ndarray:
    """[n, experts] sums of marker values at the tokens that selected each expert, after `n` random shifts.

    Holds n x experts float64 values.
    """
    steps = [rng.integers(len(circle.rows), size=n) for circle in places]
    out: list[np.ndarray] = []
    for layer in store.layers:
        expert = store.routing(layer).expert
        total = np.zeros((n, store.anatomy.layer(layer).n_experts))
        given = rates(layer) if rates else None
        for circle, step in zip(places, steps, strict=True):
            known = given(circle.rows) if given else None
            total += all_shifts(expert[circle.rows], circle.value, total.shape[1], known)[step]
        out.append(total)
    return np.concatenate(out, axis=1)


def all_shifts(expert: np.ndarray, value: np.ndarray, n_experts: int, given: np.ndarray | None = None) -> np.ndarray:
    """[steps, experts]: the sum at every step around the circle, from cumulative selections and the runs of equal value."""
    length = len(expert)
    selected = np.zeros((2 * length + 1, n_experts))
    row, slot = np.nonzero(expert >= 0)
    selected[row + 1, expert[row, slot]] = 1
    selected[1 : length + 1] -= 0.0 if given is None else given
    selected[length + 1 :] = selected[1 : length + 1]
    np.cumsum(selected, axis=0, out=selected)
    out = np.zeros((length, n_experts))
    starts = np.concatenate([[0], np.flatnonzero(np.diff(value)) + 1, [length]])
    for start, stop in pairwise(starts.tolist()):
        if value[start]:
            out += value[start] * (selected[stop : stop + length] - selected[start : start + length])
    return out
