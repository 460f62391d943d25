"""Bootstrap over clusters: tokens of one prompt are not independent, nor are prompts about one place."""

import numpy as np

LEVEL = 0.95


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
