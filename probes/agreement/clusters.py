"""Rankings that say the same: clusters by average linkage, cut at a rank correlation."""

from collections.abc import Sequence
from typing import Any

import numpy as np

CUT = 0.7
"""Two clusters are joined while the mean rank correlation between their members is at least this."""


def clusters(names: Sequence[str], pairs: Any, cut: float = CUT) -> tuple[tuple[str, ...], ...]:
    """The clusters, those with the most members first, each in the order of `names`.

    pairs: the rows of `correlations`. The distance of two rankings is 1 - spearman, so that opposite rankings are furthest
    apart, and 1 where there is no correlation. scipy's average linkage joins the nearest, as long as that distance is at most
    1 - cut.
    """
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    if len(names) < 2:
        return tuple((name,) for name in names)
    place, distance = {name: i for i, name in enumerate(names)}, np.zeros((len(names), len(names)))
    for row in pairs.itertuples():
        value = 1.0 if np.isnan(row.spearman) else 1 - row.spearman
        distance[place[row.method], place[row.other]] = distance[place[row.other], place[row.method]] = value
    found = fcluster(linkage(squareform(distance, checks=False), "average"), 1 - cut + 1e-9, "distance")
    groups: dict[int, list[str]] = {}
    for name, number in zip(names, found.tolist(), strict=True):
        groups.setdefault(number, []).append(name)
    return tuple(sorted(map(tuple, groups.values()), key=lambda group: (-len(group), place[group[0]])))
