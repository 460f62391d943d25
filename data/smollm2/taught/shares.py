"""Shares with Wilson's intervals."""

from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

from workbench.resample import LEVEL


class Share(NamedTuple):
    """How many of how many, and the 95 % interval of the share."""

    k: int
    n: int
    low: float
    high: float

    @property
    def value(self) -> float:
        """The share itself, 0 to 1."""
        return self.k / self.n

    def __str__(self) -> str:
        return f"{100 * self.value:.1f} % [{100 * self.low:.1f}, {100 * self.high:.1f}] ({self.k} of {self.n})"


def share(found: Sequence[bool]) -> Share:
    """The share of true ones with Wilson's score interval (1927). Raises `ValueError` for none."""
    if not found:
        raise ValueError("There is no answer to take a share of.")
    k, n, z = sum(map(bool, found)), len(found), NormalDist().inv_cdf((1 + LEVEL) / 2)
    centre, half = (k + z * z / 2) / (n + z * z), z * (k * (n - k) / n + z * z / 4) ** 0.5 / (n + z * z)
    return Share(k, n, max(0.0, centre - half), min(1.0, centre + half))


def kappa(one: Sequence[bool], other: Sequence[bool]) -> float:
    """How far two judges agree beyond chance (Cohen 1960): 1 always, 0 as by chance; 1 where both say one thing alone."""
    n, a, b = len(one), sum(one) / len(one), sum(other) / len(other)
    alike, chance = sum(x == y for x, y in zip(one, other, strict=True)) / n, a * b + (1 - a) * (1 - b)
    return 1.0 if chance == 1 else (alike - chance) / (1 - chance)
