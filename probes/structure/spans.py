"""What of the stream each router can see: the space that its rows span, its rank, and whose spaces it shares."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from probes.checked import checked
from probes.ranking import LayerTable
from probes.structure.cosines import DECIMALS, rows_of
from probes.structure.work import Work, begun
from workbench.errors import WorkbenchError

if TYPE_CHECKING:
    from workbench.store import Store

_EPSILON = float(np.finfo(np.float32).eps)
"""The rows of a router are kept in float32."""


class Span(NamedTuple):
    """The row space of one router."""

    layer: int
    n_experts: int
    basis: np.ndarray
    """[rank, hidden] orthonormal."""
    power: np.ndarray
    """[rank] squares of the singular values."""


@checked
def router_span(store: "Store", *, centred: bool = False, limit_mb: int = 2000) -> LayerTable:
    """How much of the stream a layer's router can see, and how much of that other layers' routers see too.

        rank       dimensions of the row space of W, the router's matrix [experts, hidden]
        share      rank / hidden: the part of an even stream that the router can see; the rest moves no logit
        effective  (sum of s^2)^2 / sum of s^4 over the singular values s of W: how many directions it really uses
        previous   overlap with the router of the MoE layer before, among those kept
        others     mean overlap with every other router kept
        overlap    |V_l V_m^T|^2 / min(rank_l, rank_m), V the orthonormal bases: 0 none, 1 the smaller lies within the larger

    by_chance  overlap of spaces of these ranks that lie at random, max(rank_l, rank_m) / hidden, with the layer before
    centred    takes the mean over experts off every row first: softmax and top-k do not see what all rows share, so the
               router's choice depends on a space of one dimension less
    limit_mb   what it may hold in memory: a basis a layer; said before it starts

    n: rows, which are the layer's experts. Range: share, previous, others and by_chance [0, 1], effective [1, rank]; null where
    there is no layer before, no other, or a router of zeros. No token is read, nothing is sampled: no interval, no p-value.
    A direction counts into the rank where its singular value is over that of rounding in float32.

    Theirs: the split of a token's stream into what the router's row space sees ("control") and the rest ("content"),
    arXiv 2604.17837, abstract alone. Ours: rank, effective rank, overlaps and chance. They fold the gain of the norm before the
    router into its rows; a store does not know the gain, so these are spaces of what the router is given, after that norm.
    How much of a token's vector lies there needs the vectors themselves.

    Not evidence that two layers choose alike: they may see the same space and choose differently in it; see `pathways`.
    Raises `WorkbenchError` over the limit, and where the store kept no routers: capture(..., keep={"routers"}).
    """
    layers = tuple(sorted({part.layer for part in store.parts("routers") if part.layer is not None}))
    if not store.has("routers") or not layers:
        raise WorkbenchError(
            f"The store '{store.path}' kept no routers; capture it again with keep including 'routers'."
        )
    begun(_work(store, layers), limit_mb, "capture fewer layers")
    spans = [_span(layer, rows_of(store, layer, centred=centred)) for layer in layers]
    shared = _overlaps(spans)
    frame = pd.DataFrame([_row(spans, shared, i) for i in range(len(spans))])
    notes = (
        "the model's own rows: no token is read, nothing is sampled, so no interval and no p-value",
        "after the norm before each router, whose gain is not folded in",
    )
    return LayerTable.of(store, "router_span", {"centred": centred, "limit_mb": limit_mb}, frame, notes)


def _span(layer: int, rows: np.ndarray) -> Span:
    _, singular, basis = np.linalg.svd(rows, full_matrices=False)
    small = singular.max(initial=0.0) * max(rows.shape) * _EPSILON
    return Span(layer, len(rows), basis[singular > small], singular[singular > small] ** 2)


def _overlaps(spans: list[Span]) -> np.ndarray:
    """[layers, layers], NaN where one has no dimension, and of a layer with itself."""
    out = np.full((len(spans), len(spans)), np.nan)
    for i, one in enumerate(spans):
        for j, other in enumerate(spans[:i]):
            fewer = min(len(one.basis), len(other.basis))
            if fewer:
                out[i, j] = out[j, i] = ((one.basis @ other.basis.T) ** 2).sum() / fewer
    return np.round(out, DECIMALS)


def _row(spans: list[Span], shared: np.ndarray, i: int) -> dict[str, float]:
    own, rank, hidden = spans[i], len(spans[i].basis), spans[i].basis.shape[1]
    known = shared[i][~np.isnan(shared[i])]
    before = spans[i - 1] if i else None
    return {
        "layer": own.layer,
        "n": own.n_experts,
        "rank": rank,
        "share": rank / hidden,
        "effective": own.power.sum() ** 2 / np.square(own.power).sum() if rank else np.nan,
        "previous": shared[i, i - 1] if before is not None else np.nan,
        "by_chance": max(rank, len(before.basis)) / hidden if before is not None else np.nan,
        "others": known.mean() if len(known) else np.nan,
    }


def _work(store: "Store", layers: tuple[int, ...]) -> Work:
    """A basis a layer, each held against each."""
    sizes, hidden = [store.anatomy.layer(layer).n_experts for layer in layers], store.anatomy.hidden_size
    products = sum(sizes) ** 2 * hidden
    return Work(f"{len(layers)} routers' spaces", 8 * hidden * (sum(sizes) + 4 * max(sizes)), products / 1e10)
