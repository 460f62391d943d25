"""How much of measured effects is no noise, and how well scores order them, beside the best that the noise allows."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from workbench.resample import cluster_draws, percentile_interval, widened

DRAWS, HALVES = 2000, 200


def matrix(effects: pd.DataFrame, kind: str) -> tuple[list[tuple[int, int]], np.ndarray]:
    """Experts, and their effects on each document of a kind in nats [experts, documents]."""
    own = effects[effects["kind"] == kind].pivot(index=["layer", "expert"], columns="document", values="nats")
    return [(int(layer), int(expert)) for layer, expert in own.index], own.to_numpy(np.float64)


def intervals(nats: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The 95 % interval of each expert's mean effect [experts]: the documents, on which base and steered are paired, redrawn."""
    n = nats.shape[1]
    draws = cluster_draws(np.arange(n), DRAWS, np.random.default_rng(0))
    low, high = percentile_interval(draws @ nats.T / draws.sum(1)[:, None], widened(n))
    return low, high


def outside(nats: np.ndarray) -> float:
    """The share of experts whose interval leaves 0 out; a twentieth would by chance alone."""
    low, high = intervals(nats)
    return float(((low > 0) | (high < 0)).mean())


def reliability(nats: np.ndarray) -> float:
    """Split-half: the mean Spearman correlation of effects on two random halves of the documents, stepped up to all of them.

    Spearman-Brown, 2 r / (1 + r). Its root is the largest correlation with these effects that a score can be expected to have,
    the ceiling.
    """
    drawing, n = np.random.default_rng(0), nats.shape[1]
    halves = [drawing.permutation(n) for _ in range(HALVES)]
    each = [spearman(nats[:, order[: n // 2]].mean(1), nats[:, order[n // 2 :]].mean(1)) for order in halves]
    r = max(float(np.mean(each)), 0.0)
    return 2 * r / (1 + r)


def told(score: np.ndarray, nats: np.ndarray) -> tuple[float, float, float]:
    """Spearman's correlation of a score [experts] with mean effects, and its 95 % interval over experts drawn again.

    Not a number, three times, where the score is the same for all.
    """
    if len(np.unique(score)) < 2:
        return (float("nan"),) * 3
    mean, n = nats.mean(1), len(score)
    drawing = np.random.default_rng(0)
    draws = [drawing.integers(0, n, n) for _ in range(DRAWS)]
    low, high = percentile_interval(np.array([[spearman(score[at], mean[at])] for at in draws]), widened(n))
    return spearman(score, mean), float(low[0]), float(high[0])


def spearman(one: np.ndarray, other: np.ndarray) -> float:
    """Rank correlation; 0 where either is constant."""
    a, b = rankdata(one), rankdata(other)
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size else 0.0
