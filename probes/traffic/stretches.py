"""Tokens that stand next to each other, as rows of one length: what everything about time is counted over."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

CELLS = 1 << 15
"""Tokens of a block; a block of 128 experts then holds 4 M selections, and all that is counted of it stays below 100 MB."""


class Block(NamedTuple):
    """Stretches of about one length."""

    row: np.ndarray
    """[stretches, longest] row of `store.tokens`; -1 beyond a stretch's end."""
    unit: np.ndarray
    """[stretches] number of the response that it is a part of."""

    @property
    def length(self) -> np.ndarray:
        """[stretches] how many tokens each has."""
        return (self.row >= 0).sum(axis=1)

    def selected(self, expert: np.ndarray, n_experts: int) -> np.ndarray:
        """Bool [stretches, longest, experts] from [rows of store.tokens, slots]; nothing beyond a stretch's end."""
        chosen = expert[self.row]
        chosen[self.row < 0] = -1
        stretch, at, slot = np.nonzero(chosen >= 0)
        found = np.zeros((*self.row.shape, n_experts), bool)
        found[stretch, at, chosen[stretch, at, slot]] = True
        return found


def blocks(group: np.ndarray, longest: int) -> list[Block]:
    """The rows of each group (a response; -1: not read) cut where a token is left out and after `longest` tokens."""
    row = np.flatnonzero(group >= 0)
    starts = (np.diff(row, prepend=-2) != 1) | (np.diff(group[row], prepend=-1) != 0)
    first = np.flatnonzero(starts)
    starts |= (np.arange(len(row)) - first[np.cumsum(starts) - 1]) % longest == 0
    first = np.flatnonzero(starts)
    length = np.diff(first, append=len(row))
    return [_block(row, group, first[some], length[some]) for some in _alike(length)]


def _alike(length: np.ndarray) -> Iterator[np.ndarray]:
    """Stretches from the longest down, as many at a time as fit: little of a block then lies beyond an end."""
    order, at = np.argsort(-length, kind="stable"), 0
    while at < len(order):
        n = max(1, CELLS // int(length[order[at]]))
        yield order[at : at + n]
        at += n


def _block(row: np.ndarray, group: np.ndarray, first: np.ndarray, length: np.ndarray) -> Block:
    column = np.arange(int(length.max()))
    inside = column < length[:, None]
    found = np.full(inside.shape, -1, np.int64)
    found[inside] = row[(first[:, None] + column)[inside]]
    return Block(found, group[row[first]])
