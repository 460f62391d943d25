"""The difference of a rate between classes of responses: score, interval and p-values for every expert at once.

    score[e] = sum over classes c of coefficient[c] * (sum of a[u, e] over u in c) / (sum of d[u] over u in c)

With a[u, e] the expert's share of the tokens read in response u and d = 1 this is a difference of class means; with a[u, e]
selections and d[u] tokens it is pooled over tokens. Denominators do not depend on the expert, so every relabelling and
every resample is one row of weights over units, and all experts follow by one matrix product.
"""

from typing import NamedTuple

import numpy as np

from probes.statistics.adjust import Adjust
from probes.statistics.exchange import Exchange, relabelled
from probes.statistics.inference import Tested, interval, permutation_test
from probes.statistics.permute import members
from workbench.resample import cluster_draws, effective_clusters


class Sample(NamedTuple):
    """What is compared."""

    a: np.ndarray
    """[units, experts] float64 numerators."""
    d: np.ndarray
    """[units] float64 denominators."""
    member: np.ndarray
    """[classes, units] float64: 1 where the unit is of the class, else 0 (or a weight in place of 1)."""
    coefficient: np.ndarray
    """[classes], which sum to 0."""


class Estimate(NamedTuple):
    """Per expert; NaN where something does not exist, with the reason in `notes`."""

    score: np.ndarray
    low: np.ndarray
    high: np.ndarray
    p: np.ndarray
    p_adjusted: np.ndarray
    notes: tuple[str, ...]


def difference(
    sample: Sample, exchange: Exchange, n_permutations: int, n_bootstrap: int, seed: int, adjust: Adjust
) -> Estimate:
    """The score with a cluster-bootstrap interval and permutation p-values, all drawn from `seed`."""
    score = class_weights(sample.member, sample) @ sample.a
    low, high, noted = _interval(sample, exchange, n_bootstrap, seed)
    tested, why = relabelling_test(sample, exchange, n_permutations, seed, adjust)
    return Estimate(score, low, high, *tested, (*noted, *why))


def class_members(label: np.ndarray, n_classes: int) -> np.ndarray:
    """[classes, units] memberships from class numbers."""
    return (label == np.arange(n_classes)[:, None]).astype(np.float64)


def class_weights(member: np.ndarray, sample: Sample) -> np.ndarray:
    """[..., units] weights from memberships [classes, ..., units]; NaN where a class is empty."""
    with np.errstate(invalid="ignore", divide="ignore"):
        total = (member * sample.d).sum(axis=-1, keepdims=True)
        return np.tensordot(sample.coefficient, member / total, axes=1)


def _interval(
    sample: Sample, exchange: Exchange, n_draws: int, seed: int
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    nothing = np.full(sample.a.shape[1], np.nan)
    clusters = [len(np.unique(exchange.cluster[row > 0])) for row in sample.member]
    if n_draws < 1 or min(clusters) < 2:
        why = "none was asked for" if n_draws < 1 else f"one class has {min(clusters)} cluster, and 2 are needed"
        return nothing, nothing, (f"no interval: {why}",)
    drawn = cluster_draws(exchange.cluster, n_draws, np.random.default_rng([seed, 1]))
    rows = np.concatenate([class_weights(sample.member[:, None, :] * some, sample) for some in _chunks(drawn)])
    kept = rows[~np.isnan(rows).any(axis=1)]
    n_clusters = effective_size(sample, exchange.cluster)
    low, high = interval(lambda block: kept @ sample.a[:, block], sample.a.shape[1], len(kept), n_clusters)
    lost = n_draws - len(kept)
    return low, high, (f"{lost} of {n_draws} resamples left a class empty and were not used",) if lost else ()


def effective_size(sample: Sample, cluster: np.ndarray) -> float:
    """How many equal clusters weigh as these do, each by its part in the variance of the difference (Satterthwaite)."""
    share = sample.member * sample.d / (sample.member * sample.d).sum(axis=1, keepdims=True)
    total = (sample.member * sample.d).sum(axis=1, keepdims=True)
    return effective_clusters((sample.coefficient[:, None] ** 2 * share / total).sum(axis=0), cluster)


def relabelling_test(
    sample: Sample, exchange: Exchange, n_draws: int, seed: int, adjust: Adjust
) -> tuple[Tested, tuple[str, ...]]:
    """The p-values of the score under relabelling, or NaN with the reason."""
    nothing = np.full(sample.a.shape[1], np.nan)
    if n_draws < 1 or exchange.relabellings < 1.5:
        why = "none was asked for" if n_draws < 1 else "no two units that may exchange labels differ in class"
        return Tested(nothing, nothing), (f"no p-value: {why}",)
    score = class_weights(sample.member, sample) @ sample.a
    moved = relabelled(exchange, n_draws, seed)
    rows = np.concatenate([class_weights(sample.member[:, some], sample) for some in _chunks(moved)])
    centre = class_weights(_expected(sample.member, exchange), sample) @ sample.a
    return permutation_test(score, centre, lambda block: rows @ sample.a[:, block], n_draws, adjust), ()


def _chunks(draws: np.ndarray) -> list[np.ndarray]:
    return np.array_split(draws, -(-len(draws) // 100))


def _expected(member: np.ndarray, exchange: Exchange) -> np.ndarray:
    """[classes, units]: the mean membership of each unit over all relabellings."""
    first, rank, size, order = members(exchange.blocks)
    stratum = np.unique(exchange.blocks.stratum, return_inverse=True)[1]
    n_blocks = np.bincount(stratum)
    out = np.empty_like(member)
    for r in range(int(size.max())):
        taken = member[:, order[first + np.where(size > r, r, 0)]]  # what each block would give to a unit of rank r
        mean = np.stack([np.bincount(stratum, row) for row in taken]) / n_blocks
        here = rank == r
        out[:, here] = mean[:, stratum[exchange.blocks.of_unit[here]]]
    return out
