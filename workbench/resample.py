"""Bootstrap over clusters: tokens of one prompt are not independent, nor are prompts about one place."""

from collections.abc import Hashable, Sequence
from statistics import NormalDist

import numpy as np

LEVEL = 0.95
FEW = 10
"""Clusters below which intervals cover less than they say (simulated: `python -m tests.coverage`)."""


def joined(*columns: Sequence[Hashable | None]) -> np.ndarray:
    """[units] number from 0, by first unit: units that share a name in some column, directly or through others, are one.

    What is resampled together where prompts name both a pair and a cluster: a pair across two clusters makes one of them.
    A unit without any name (None) stands alone.
    """
    parent = list(range(len(columns[0])))

    def root(unit: int) -> int:
        while parent[unit] != unit:
            parent[unit] = unit = parent[parent[unit]]
        return unit

    for column in columns:
        first: dict[Hashable, int] = {}
        for unit, name in enumerate(column):
            if name is not None:
                one, other = root(unit), root(first.setdefault(name, unit))
                parent[max(one, other)] = min(one, other)
    return np.unique([root(unit) for unit in range(len(parent))], return_inverse=True)[1]


def cluster_draws(cluster: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """[n, units]: how often each unit is in each of `n` resamples of whole clusters, drawn with replacement.

    cluster: [units] cluster number from 0. Every resample has as many clusters as there are.
    """
    n_clusters = int(cluster.max()) + 1
    drawn = rng.multinomial(n_clusters, np.full(n_clusters, 1 / n_clusters), size=n)
    return drawn[:, cluster].astype(np.float64)


def percentile_interval(replicates: np.ndarray, level: float = LEVEL) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper percentile per column of [resamples, columns]; resamples without a value (NaN) are left out.

    A column without any value gets NaN. Percentiles interpolate linearly between resamples.
    """
    tail = 50 * (1 - level)
    if not np.isnan(replicates).any():
        low, high = np.percentile(replicates, [tail, 100 - tail], axis=0)
        return low, high
    out = np.full((2, replicates.shape[1]), np.nan)
    for column in np.flatnonzero(~np.isnan(replicates).all(axis=0)):
        out[:, column] = np.nanpercentile(replicates[:, column], [tail, 100 - tail])
    return out[0], out[1]


def effective_clusters(size: np.ndarray, cluster: np.ndarray) -> float:
    """How many clusters of equal size weigh as these do: (sum of sizes)^2 / sum of squared sizes; `size` is [units]."""
    sizes = np.bincount(cluster, size)
    return float(sizes.sum() ** 2 / (sizes**2).sum())


def widened(n_clusters: float, level: float = LEVEL) -> float:
    """The level at which percentiles of a bootstrap over `n_clusters` clusters cover `level`.

    The percentiles of a normal sample's bootstrap lie at z sqrt((n - 1) / n) standard errors, those that cover at Student's t
    with n - 1 degrees of freedom: 2 % apart at 40 clusters, 15 % at 10 (Hesterberg 2015, "expanded percentile interval").
    """
    freedom = max(n_clusters - 1, 1.0)
    reach = student_quantile((1 + level) / 2, freedom) * np.sqrt((freedom + 1) / freedom)
    return 2 * NormalDist().cdf(float(reach)) - 1


def student_quantile(p: float, freedom: float) -> float:
    """The quantile p >= 0.5 of Student's t: its density over t = sqrt(freedom) tan(angle) goes with cos(angle)^(freedom - 1)."""
    angle = np.linspace(0, np.pi / 2, 20001)
    density = np.cos(angle) ** (freedom - 1)
    area = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])
    return float(np.sqrt(freedom) * np.tan(np.interp((2 * p - 1) * area[-1], area, angle)))
