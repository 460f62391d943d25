"""Groups of experts that are alike, and how many of a layer are one too many."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from probes.structure.cosines import Cosines
from workbench.anatomy import ExpertRef
from workbench.errors import listed

_NAMED = 6


class Groups(NamedTuple):
    """One layer's experts in groups: two are in one where a chain of cosines of the threshold or more joins them."""

    of: np.ndarray
    """[experts] number of the group, from 0 in order of its first expert; experts alone are groups too."""
    redundancy: float
    """(experts - groups) / experts: the share that would go if each group became one expert."""


def groups(cosine: np.ndarray, threshold: float) -> Groups:
    """Single linkage over the experts of a layer; `cosine` [experts, experts], NaN joins nobody."""
    of = np.arange(len(cosine))
    for i, j in zip(*np.nonzero(np.triu(cosine >= threshold, 1)), strict=True):
        of[of == max(of[i], of[j])] = min(of[i], of[j])
    number = np.unique(of, return_inverse=True)[1]
    return Groups(number, 1 - (number.max(initial=-1) + 1) / max(len(of), 1))


def said(found: list[Cosines], threshold: float) -> Iterator[str]:
    """What to tell: how alike a layer's experts are, and which form groups."""
    for layer, cosine, _ in found:
        other = cosine[~np.eye(len(cosine), dtype=bool)]
        if np.isnan(other).all():
            yield f"layer {layer}: no two experts can be compared"
            continue
        grouped = groups(cosine, threshold)
        most = f"mean cosine {np.nanmean(other):.2f}, largest {np.nanmax(other):.2f}"
        if grouped.redundancy == 0:
            yield f"layer {layer}: {most}; no two experts reach {threshold:g}"
            continue
        members = [np.flatnonzero(grouped.of == g) for g in range(grouped.of.max() + 1)]
        named = [" ".join(str(ExpertRef(layer, int(e))) for e in m) for m in members if len(m) > 1]
        yield (
            f"layer {layer}: {most}; in groups of {threshold:g} or more: {listed(named, _NAMED)}; redundancy "
            f"{grouped.redundancy:.2f}"
        )
