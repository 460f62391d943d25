"""Spearman's rank correlation of each two rankings, over the experts that both rank."""

from collections.abc import Mapping
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from probes.ranking import ExpertScores

LEAST = 3
"""Fewer experts in common than this have no rank correlation here: two always lie on a line."""


def correlations(scores: "Mapping[str, ExpertScores]") -> pd.DataFrame:
    """A row for every two rankings, in their order: method, other, spearman and n.

        spearman = Pearson's correlation of the ranks among the n experts with a score in both; equal scores share their mean rank

    Range [-1, 1]; null where n is below 3 or one of the two gives all of them one score. Routed experts alone. No p-value:
    experts of a layer compete for slots, so they are not independent.
    """
    table = pd.DataFrame({name: _by_expert(found) for name, found in scores.items()})
    rows = [(a, b, *_spearman(table[a], table[b])) for a, b in combinations(scores, 2)]
    return pd.DataFrame(rows, columns=["method", "other", "spearman", "n"]).astype({"spearman": float, "n": "int64"})


def _by_expert(found: "ExpertScores") -> Any:
    frame: Any = found.frame[~found.frame["is_shared"]]
    return frame.set_index(["layer", "expert"])["score"]


def _spearman(one: Any, other: Any) -> tuple[float, int]:
    both = one.notna() & other.notna()
    n = int(both.sum())
    if n < LEAST:
        return np.nan, n
    a, b = (x[both].rank().to_numpy() for x in (one, other))
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    return (float(a @ b) / size if size else np.nan), n
