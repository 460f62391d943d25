"""Ratios that can be trusted on a noisy machine: two pieces of work in turn, A B A B ..., and the median of the pairs."""

import statistics
import time
from collections.abc import Callable
from typing import NamedTuple


class Ratio(NamedTuple):
    """How much slower `what` is than `against`: the median of interleaved pairs, and their quartiles."""

    what: str
    against: str
    median: float
    low: float
    high: float
    limit: float | None = None

    @property
    def verdict(self) -> str:
        return "" if self.limit is None else "met" if self.median <= self.limit else "MISSED"


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def ratio(
    what: str,
    work: Callable[[], object],
    against: str,
    base: Callable[[], object],
    *,
    pairs: int = 15,
    limit: float | None = None,
) -> Ratio:
    """The median of time(work) / time(base) over `pairs` interleaved pairs, after one warm-up of each."""
    work(), base()
    found = sorted(seconds(work) / seconds(base) for _ in range(pairs))
    quarter = pairs // 4
    return Ratio(what, against, statistics.median(found), found[quarter], found[-1 - quarter], limit)
