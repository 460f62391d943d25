"""p-values over many experts: Westfall-Young (the default), Benjamini-Hochberg, Bonferroni.

With 192 experts and 1,000 permutations Benjamini-Hochberg cannot bring a lone hit below 0.19, since no p-value is below
1/1001; the maximum over experts of each permutation can.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np

from workbench.errors import WorkbenchError

Adjust = Literal["max", "max_step_down", "bh", "bonferroni", "none"]
METHODS: tuple[Adjust, ...] = ("max", "max_step_down", "bh", "bonferroni", "none")


def check_adjust(adjust: str) -> None:
    """Raises `WorkbenchError` for an unknown name."""
    if adjust not in METHODS:
        raise WorkbenchError(f"adjust='{adjust}' is not known; p-values are adjusted by {', '.join(METHODS)}.")


def benjamini_hochberg(p: np.ndarray) -> np.ndarray:
    """False discovery rate (Benjamini and Hochberg 1995): p times m over its rank, made monotone. NaN stays NaN."""
    return _by_rank(p, lambda p: np.minimum.accumulate((p * len(p) / np.arange(1, len(p) + 1))[::-1])[::-1])


def bonferroni(p: np.ndarray) -> np.ndarray:
    """Each p times the number of tests that have one, at most 1. NaN stays NaN."""
    return _by_rank(p, lambda p: p * len(p))


def _by_rank(p: np.ndarray, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    out = np.full(len(p), np.nan)
    tested = np.flatnonzero(~np.isnan(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    out[order] = np.minimum(change(p[order]), 1.0)
    return out
