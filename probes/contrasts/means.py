"""How much a mean over the tokens that select an expert changes between two stores: their number changes with a resample too."""

from typing import NamedTuple

import numpy as np

from probes.reading import Axis
from probes.statistics import Estimate, Sample, Side, class_members, effective_size, interval
from workbench.resample import cluster_draws


class Selected(NamedTuple):
    """What the responses of one store selected, or received, at the tokens read."""

    side: Side
    total: np.ndarray
    """[units, experts] selections, or what they add up to."""
    n: np.ndarray
    """[units, experts] selections with a finite value."""
    tokens: np.ndarray
    """[units] tokens read."""
    axis: Axis
    notes: tuple[str, ...]


Both = tuple[Selected, Selected]
Sums = tuple[np.ndarray, np.ndarray]
"""[clusters, experts] totals, and numbers of selections."""


def sample_of(reads: Both) -> Sample:
    """The two stores as classes: the second minus the first, each token with the same say."""
    label = np.repeat([0, 1], [len(read.tokens) for read in reads])
    a, d = np.concatenate([read.total for read in reads]), np.concatenate([read.tokens for read in reads])
    return Sample(a, d, class_members(label, 2), np.array([-1.0, 1.0]))


def change_of_means(reads: Both, cluster: np.ndarray, relative: bool, n_draws: int, seed: int) -> Estimate:
    """The second store's means minus the first's (relative: as a share of the first's), with intervals and without p-values.

    cluster: [units of both] what is resampled together. Null where one store has no mean, or the share is of zero.
    """
    first, n_clusters = len(reads[0].tokens), int(cluster.max()) + 1
    parts = (cluster[:first], cluster[first:])
    sums = (_by_cluster(reads[0], parts[0], n_clusters), _by_cluster(reads[1], parts[1], n_clusters))
    score = _change(sums, np.ones((1, n_clusters)), slice(None), relative)[0]
    nothing, few = np.full(len(score), np.nan), min(len(np.unique(part)) for part in parts)
    none = "no p-value: a mean over the tokens that select an expert has no exchange of stores as its null"
    if n_draws < 1 or few < 2:
        why = "none was asked for" if n_draws < 1 else f"one store has {few} cluster, and 2 are needed"
        return Estimate(score, nothing, nothing, nothing, nothing, (f"no interval: {why}", none))
    drawn = cluster_draws(np.arange(n_clusters), n_draws, np.random.default_rng([seed, 1]))
    n_effective = effective_size(sample_of(reads), cluster)
    low, high = interval(lambda block: _change(sums, drawn, block, relative), len(score), n_draws, n_effective)
    return Estimate(score, low, high, nothing, nothing, (none,))


def _by_cluster(read: Selected, cluster: np.ndarray, n_clusters: int) -> Sums:
    total, n = np.zeros((n_clusters, read.n.shape[1])), np.zeros((n_clusters, read.n.shape[1]))
    np.add.at(total, cluster, read.total)
    np.add.at(n, cluster, read.n)
    return total, n


def _change(sums: tuple[Sums, Sums], drawn: np.ndarray, block: np.ndarray | slice, relative: bool) -> np.ndarray:
    """[draws, experts] the change from one store's mean to the other's; drawn: [draws, clusters]."""
    before, after = (_ratio(drawn @ total[:, block], drawn @ n[:, block]) for total, n in sums)
    return _ratio(after - before, before) if relative else after - before


def _ratio(top: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.divide(top, below, out=np.full(top.shape, np.nan), where=below > 0)
