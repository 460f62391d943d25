"""The interval of a ratio of sums, such as a mean over the tokens that selected an expert: whole clusters are resampled."""

import numpy as np

from probes.statistics.inference import interval
from workbench.resample import cluster_draws, effective_clusters


def ratio_interval(
    a: np.ndarray, over: np.ndarray, size: np.ndarray, n_draws: int, seed: int
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """95 % interval of every column's sum of `a` over its sum of `over`, and why there is none.

    a  [clusters, experts]; over  [clusters, experts], or [clusters, 1] where all experts share it; size  [clusters] tokens.
    A resample in which an expert's `over` is 0 says nothing of it and is left out.
    """
    if n_draws < 1 or len(a) < 2:
        why = "none was asked for" if n_draws < 1 else f"there is {len(a)} cluster, and 2 are needed"
        return np.full(a.shape[1], np.nan), np.full(a.shape[1], np.nan), (f"no interval: {why}",)
    clusters = np.arange(len(a))
    drawn = cluster_draws(clusters, n_draws, np.random.default_rng([seed, 1]))

    def replicates(block: np.ndarray) -> np.ndarray:
        top, below = drawn @ a[:, block], drawn @ (over[:, block] if over.shape[1] > 1 else over)
        return np.divide(top, below, out=np.full(top.shape, np.nan), where=below > 0)

    return *interval(replicates, a.shape[1], n_draws, effective_clusters(size, clusters)), ()
