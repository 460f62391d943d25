"""From replicates of a score to an interval and p-values, over blocks of experts so that memory stays small.

A `Replicates` is a function from expert numbers to [draws, experts]. The same draws (relabellings, resamples) serve every
expert, which is what makes the maximum over experts a joint null (Westfall and Young 1993).
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from probes.statistics.adjust import Adjust, benjamini_hochberg, bonferroni
from probes.statistics.permute import p_value, threshold
from workbench.resample import percentile_interval, widened

Replicates = Callable[[np.ndarray], np.ndarray]
BLOCK_VALUES = 2_000_000
"""Replicates held at once (16 MB)."""


class Tested(NamedTuple):
    """Per expert: the p-value of its own null, and the one adjusted over all experts. NaN where the score is NaN."""

    p: np.ndarray
    p_adjusted: np.ndarray


def interval(replicates: Replicates, n_experts: int, n_draws: int, n_clusters: float) -> tuple[np.ndarray, np.ndarray]:
    """95 % interval of every expert's resampled score: percentiles, widened for how few clusters were resampled.

    n_clusters: see `workbench.resample.effective_clusters`.
    """
    level = widened(n_clusters)
    low, high = np.full(n_experts, np.nan), np.full(n_experts, np.nan)
    for block in _blocks(np.arange(n_experts), n_draws):
        low[block], high[block] = percentile_interval(replicates(block), level)
    return low, high


def permutation_test(score: np.ndarray, centre: np.ndarray, null: Replicates, n_draws: int, adjust: Adjust) -> Tested:
    """Two-sided p-values: how far the score lies from its mean under the null, among `n_draws` null scores.

    score, centre: [experts]. "max" compares with the largest distance over all experts of each draw; "max_step_down" with
    the largest over the experts that are not more extreme (uniformly more powerful; Westfall and Young's algorithm 2.8).
    """
    observed = np.abs(score - centre)
    order = np.argsort(observed, kind="stable")  # ascending, NaN last
    order = order[~np.isnan(observed[order])]
    p, stepped, largest = np.full(len(score), np.nan), np.full(len(score), np.nan), np.zeros(n_draws)
    for block in _blocks(order, n_draws):
        distance = np.nan_to_num(np.abs(null(block) - centre[block]), nan=0.0)
        p[block] = p_value(observed[block], distance)
        if adjust == "max_standardised":
            # the observed labelling is one of the draws here too; a scale from the others alone rejected 7 % at 5 %
            scale = np.sqrt(((distance**2).sum(axis=0) + observed[block] ** 2) / (n_draws + 1))
            scale = np.where(scale > 1e-12, scale, np.inf)  # a score that no relabelling changes
            distance, observed[block] = distance / scale, observed[block] / scale
        running = np.maximum(np.maximum.accumulate(distance, axis=1), largest[:, None])
        stepped[block] = p_value(observed[block], running)
        largest = running[:, -1]
    if adjust in ("max", "max_standardised"):
        return Tested(p, _max_adjusted(observed, largest))
    if adjust == "max_step_down":
        stepped[order] = np.maximum.accumulate(stepped[order[::-1]])[::-1]
        return Tested(p, stepped)
    return Tested(p, {"bh": benjamini_hochberg, "bonferroni": bonferroni, "none": np.copy}[adjust](p))


def _max_adjusted(observed: np.ndarray, largest: np.ndarray) -> np.ndarray:
    """Westfall and Young's single step: each score against the largest of every draw."""
    below = np.searchsorted(np.sort(largest), threshold(observed), side="left")
    p = (1 + len(largest) - below) / (1 + len(largest))
    return np.where(np.isnan(observed), np.nan, p)


def _blocks(order: np.ndarray, n_draws: int) -> list[np.ndarray]:
    size = max(1, BLOCK_VALUES // max(1, n_draws))
    return [order[i : i + size] for i in range(0, len(order), size)]
