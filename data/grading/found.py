"""How well a ranking finds the experts that are known to carry a behaviour."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

FIRST = (1, 2, 4, 8)


class Found(NamedTuple):
    """Hits among the first n, average precision, and the average precision expected of a random order."""

    hits: dict[int, int]
    average_precision: float
    chance: float


def grade(ranking: Sequence[str], carriers: Sequence[str]) -> Found:
    """Grade a full ranking (best first) against the carriers."""
    wanted = set(carriers)
    hits = {n: len(wanted & set(ranking[:n])) for n in FIRST}
    return Found(hits, round(average_precision(ranking, wanted), 4), round(len(wanted) / len(ranking), 4))


def average_precision(ranking: Sequence[str], wanted: set[str]) -> float:
    """Mean over the carriers of the precision at the rank where each is found."""
    total, seen = 0.0, 0
    for rank, expert in enumerate(ranking, 1):
        if expert in wanted:
            seen += 1
            total += seen / rank
    return total / len(wanted)
