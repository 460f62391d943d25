"""Ratios that can be trusted on a noisy machine: two pieces of work in turn, A B A B ..., and the median of the pairs."""

import statistics
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple


class Ratio(NamedTuple):
    """How much slower `what` is than `against`: the median of interleaved pairs, and their quartiles."""

    what: str
    against: str
    median: float
    low: float
    high: float
    limit: float | None = None
    values: tuple[float, ...] = ()

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
    return spread(what, against, [seconds(work) / seconds(base) for _ in range(pairs)], limit)


def both_clocks(
    what: str, work: Callable[[], object], against: str, base: Callable[[], object], pairs: int, limit: float
) -> list[Ratio]:
    """`ratio` without warm-up, for work of minutes: by the clock on the wall, and by what the process computed itself."""
    found = [(_clocks(work), _clocks(base)) for _ in range(pairs)]
    by_clock = [[a / b for a, b in zip(*pair, strict=True)] for pair in found]
    wall, processor = zip(*by_clock, strict=True)
    return [spread(what, against, wall, limit), spread(f"{what}, processor", against, processor, limit)]


def processor_seconds(work: Callable[[], object]) -> float:
    """What this process computed for it, in all its threads and in the kernel."""
    return _clocks(work)[1]


def _clocks(work: Callable[[], object]) -> tuple[float, float]:
    started = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - started[0], time.process_time() - started[1]


def spread(what: str, against: str, found: Iterable[float], limit: float | None = None) -> Ratio:
    """Median and quartiles of measured values."""
    found = sorted(found)
    quarter = len(found) // 4
    return Ratio(what, against, statistics.median(found), found[quarter], found[-1 - quarter], limit, tuple(found))
