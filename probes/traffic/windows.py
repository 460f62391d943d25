"""How well one fixed choice of experts serves a window of tokens: counts by frequency, and the best threshold's F1."""

from math import lgamma

import numpy as np


def frequencies(running: np.ndarray, length: np.ndarray, unit: np.ndarray, window: int, n_units: int) -> np.ndarray:
    """[units, window + 1]: windows of a unit times experts, by how many of the window's tokens select the expert.

    running  [stretches, tokens + 1, experts] selections before each token
    """
    if running.shape[1] <= window:
        return np.zeros((n_units, window + 1), np.int64)
    times = running[:, window:] - running[:, :-window]
    whole = np.arange(times.shape[1]) + window <= length[:, None]  # windows that lie in their stretch
    code = unit[:, None, None] * (window + 1) + times
    return np.bincount(code[whole].ravel(), minlength=n_units * (window + 1)).reshape(n_units, window + 1)


def best_f1(frequency: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[...] the best F1 over thresholds, and how many experts that keeps over those needed; from [..., window + 1].

    Null where nothing was counted.
    """
    times = np.arange(frequency.shape[-1])
    kept = _from_above(frequency) * times[-1]
    served = _from_above(frequency * times)
    needed = served[..., :1]
    with np.errstate(invalid="ignore", divide="ignore"):
        f1 = 2 * served / (kept + needed)
        best = np.where(needed[..., 0] > 0, f1.argmax(axis=-1), 0)
        size = np.take_along_axis(kept / needed, best[..., None], axis=-1)[..., 0]
    return f1.max(axis=-1), size


def _from_above(counts: np.ndarray) -> np.ndarray:
    return np.flip(np.cumsum(np.flip(counts, -1), axis=-1), -1)


def independent(rate: np.ndarray, window: int) -> float:
    """The best F1 where every token of a window selects each expert at its own rate [experts], whatever came before."""
    times = np.arange(window + 1)
    ways = np.array([lgamma(window + 1) - lgamma(t + 1) - lgamma(window - t + 1) for t in times])
    with np.errstate(divide="ignore", invalid="ignore"):
        chosen = np.where(times > 0, times * np.log(rate)[:, None], 0.0)
        passed = np.where(times < window, (window - times) * np.log1p(-rate)[:, None], 0.0)
    return float(best_f1(np.exp(ways + chosen + passed).sum(axis=0))[0])
