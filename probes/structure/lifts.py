"""How sure a lift is: pairs of experts counted cluster by cluster, and whole clusters resampled."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from probes.statistics import interval
from probes.structure.steps import selected
from workbench.resample import cluster_draws, effective_clusters

if TYPE_CHECKING:
    from workbench.store import Store


def lift_interval(
    store: "Store", read: np.ndarray, frame: pd.DataFrame, cluster: np.ndarray, n_draws: int, seed: int
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """95 % interval of the lift of every row, and why there is none; cluster: [tokens read]."""
    n_clusters, nothing = int(cluster.max()) + 1, np.full(len(frame), np.nan)
    if n_draws < 1 or n_clusters < 2:
        why = "none was asked for" if n_draws < 1 else f"there is {n_clusters} cluster, and 2 are needed"
        return nothing, nothing, (f"no interval: {why}",)
    both, first, second = _by_cluster(store, read, frame, cluster, n_clusters)
    size = np.bincount(cluster, minlength=n_clusters).astype(np.float64)
    drawn = cluster_draws(np.arange(n_clusters), n_draws, np.random.default_rng([seed, 1]))
    total = (drawn @ size)[:, None]

    def replicates(block: np.ndarray) -> np.ndarray:
        below = (drawn @ first[:, block]) * (drawn @ second[:, block])
        return np.divide((drawn @ both[:, block]) * total, below, out=np.full(below.shape, np.nan), where=below > 0)

    return *interval(replicates, len(frame), n_draws, effective_clusters(size, np.arange(n_clusters))), ()


def _by_cluster(
    store: "Store", read: np.ndarray, frame: pd.DataFrame, cluster: np.ndarray, n_clusters: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """[clusters, rows] tokens of each cluster that selected both, the first, the second."""
    out = np.zeros((3, n_clusters, len(frame)))
    for (layer, other), rows in frame.groupby(["layer", "other_layer"]).indices.items():  # pyright: ignore[reportGeneralTypeIssues]
        before, after = (selected(store, int(x), read) for x in (layer, other))
        experts, others = (frame[name].to_numpy()[rows] for name in ("expert", "other_expert"))
        for row, i, p in zip(rows, experts, others, strict=True):
            for count, mask in zip(out, (before[:, i] & after[:, p], before[:, i], after[:, p]), strict=True):
                count[:, row] = np.bincount(cluster[mask], minlength=n_clusters)
    return out[0], out[1], out[2]
