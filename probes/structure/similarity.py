"""Which experts of a layer are alike: to the router, in their weights, or in what they write on the same tokens."""

from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import pandas as pd

from probes.checked import checked
from probes.ranking import PairTable
from probes.reading import Tokens, describe, prompt_of_row, routed_units, template_notes, used_prompts
from probes.structure.alike import groups, said
from probes.structure.cosines import Cosines, of_kernels, of_logits, of_outputs, of_routers, of_weights
from probes.structure.work import Work, begun
from workbench.errors import WorkbenchError

if TYPE_CHECKING:
    from workbench.store import Store

By = Literal["router", "logits", "outputs", "cka", "weights"]
_TABLE = {"router": "routers", "logits": "logits", "outputs": "outputs", "cka": "outputs", "weights": "alignments"}
_OF_MODEL = ("router", "weights")
"""Which read no token."""


@checked
def similarity(
    store: "Store",
    *,
    by: By = "router",
    centred: bool = False,
    threshold: float = 0.9,
    first: int = 1000,
    tokens: Tokens | np.ndarray = "content",
    roles: str | list[str] | None = None,
    where: str | None = None,
    limit_mb: int = 2000,
) -> PairTable:
    """Which experts i < j of one layer are alike, the most alike first; which form groups, and how redundant a layer is.

        router:   cosine[i, j] = cos(W[i], W[j])                           W[i]  expert i's row of the router's matrix
        logits:   cosine[i, j] = cos(Z[i], Z[j])                           Z[i]  its logits over the tokens read
        outputs:  cosine[i, j] = mean over t of cos(y[t, i], y[t, j])      t  tokens read that selected both, with outputs kept
        cka:      cosine[i, j] = HSIC(i, j) / sqrt(HSIC(i, i) HSIC(j, j))   HSIC  of their products at two tokens, unbiased
        weights:  cosine[i, j] = the largest, over orders of j's neurons, of cos(V[i], V[j])   V  the weights, a row a neuron
        similarity = (cosine + 1) / 2

    centred    takes the mean over the layer's experts off each row, and off each token's logits, first: softmax and top-k do not
               see what all rows share, and cosines do. Outputs stay as they are
    threshold  cosines from which two experts are in one group, and a third that is so with one of them (single linkage)
    first      how many rows are kept; 0 keeps every pair
    tokens, roles, where  as in `ftri`, for logits, outputs and cka; a router's rows and weights are the model's: no token is read
    limit_mb   what it may hold in memory: experts x experts a layer, twice, by outputs one layer of a shard, by cka one layer of
               all tokens read; said before

    n: channels of the rows (router), tokens read (logits), tokens that selected both (outputs; for cka those
    that repeat no earlier one in what both write, which is ours), neurons (weights). Range of
    the cosine [-1, 1], of similarity [0, 1]; null where there are only zeros, or no token selected both (for cka fewer than
    four). group: the number of the group that both are in, within the layer; null where they are in two. The notes have each
    layer's mean and largest cosine, its groups, and its redundancy: (experts - groups) / experts. No interval and no p-value:
    the most alike of many pairs were chosen for it.

    Theirs: similarity by logits is M-SMoE's default (arXiv 2310.01334; code read), which merges each expert into the dominant
    one that it is most alike. By outputs it is Sub-MoE's (arXiv 2506.23266; from a third party's notes), which runs all experts
    on the same inputs; here only those that the router chose, so n differs by pair, and a pair that is never selected together
    is null. CKA is Kornblith et al.'s (arXiv 1905.00414, quoted from memory), with the unbiased HSIC of Song et al. (JMLR 2012,
    eq. 5): the usual one nears 1 for any two experts where tokens are few beside channels. It does not see a turn of the stream
    or a size. Weights aligned by permutation are M-SMoE's, by the Hungarian algorithm (code read; to the layer's first expert
    there, each to each here). Ours: the router's rows, centring, groups by a threshold in place of K-means, redundancy.

    Not evidence that two experts do the same: alike to the router says that they are chosen alike, and outputs that agree where
    both are chosen may differ elsewhere. Replace one by the other, or switch it off, and compare.
    Raises `WorkbenchError` for unknown words, over the limit, and where the store kept no routers, logits or outputs.
    """
    _check(store, by, threshold, first)
    layers, read, notes = _asked(store, by, tokens, roles, where)
    begun(_work(store, by, layers, int(read.sum())), limit_mb, "capture fewer layers, or read fewer tokens")
    ways = {
        "router": lambda: of_routers(store, layers, centred=centred),
        "logits": lambda: of_logits(store, layers, read, centred=centred),
        "outputs": lambda: of_outputs(store, layers, read),
        "cka": lambda: of_kernels(store, layers, read),
        "weights": lambda: of_weights(store, layers),
    }
    found = [*ways[by]()]
    frame: Any = pd.concat([_rows(one, threshold) for one in found], ignore_index=True)
    order = np.lexsort([frame["other_expert"], frame["expert"], frame["layer"], -frame["cosine"].fillna(-2)])
    frame = frame.iloc[order[:first] if first else order]
    options = {"by": by, "centred": centred, "threshold": threshold, "first": first, "tokens": describe(tokens, roles)}
    options |= {"roles": roles, "where": where, "limit_mb": limit_mb}
    return PairTable.of(
        store, "similarity", options, frame, (*notes, *said(found, threshold), "no interval, no p-value")
    )


def _check(store: "Store", by: str, threshold: float, first: int) -> None:
    if by not in get_args(By) or not -1 <= threshold <= 1 or first < 0:
        raise WorkbenchError(
            f"by='{by}', threshold={threshold:g} and first={first} compare no experts; by is {', '.join(get_args(By))}, "
            f"threshold a cosine from -1 to 1, first from 0."
        )
    if not store.has(_TABLE[by]):
        raise WorkbenchError(
            f"The store '{store.path}' kept no {_TABLE[by]}; capture it again with keep including '{_TABLE[by]}', or ask by "
            f"another of {', '.join(get_args(By))}."
        )


def _asked(
    store: "Store", by: By, tokens: Tokens | np.ndarray, roles: str | list[str] | None, where: str | None
) -> tuple[tuple[int, ...], np.ndarray, tuple[str, ...]]:
    """The layers that were kept, bool [rows of store.tokens] that are read, and what to say of them."""
    layers = tuple(sorted({part.layer for part in store.parts(_TABLE[by]) if part.layer is not None}))
    if by in _OF_MODEL:
        return layers, np.zeros(0, bool), (f"the model's own {'rows' if by == 'router' else by}: no token is read",)
    group, sequence = routed_units(store, tokens, roles, where)
    apart = template_notes(store, tokens, roles, used_prompts(store, where)[prompt_of_row(store)])
    return layers, group >= 0, (f"{int((group >= 0).sum())} tokens of {len(sequence)} responses read", *apart)


def _work(store: "Store", by: By, layers: tuple[int, ...], tokens: int) -> Work:
    """Cosines, counts and rows of every pair; by outputs a layer of all tokens read, as vectors and as unit vectors."""
    shapes = [store.anatomy.layer(layer) for layer in layers]
    cells, hidden = sum(x.n_experts**2 for x in shapes), store.anatomy.hidden_size
    top_k, widest = max((x.top_k for x in shapes), default=0), max((x.n_experts for x in shapes), default=0)
    size, seconds = 64 * cells + 16 * widest * hidden, cells * hidden / 5e9 + cells / 2e6
    if by == "logits":
        size, seconds = 64 * cells, cells * tokens / 5e9 + cells / 2e6
    if by == "outputs":
        size, seconds = (
            64 * cells + 24 * tokens * top_k * hidden,
            len(layers) * tokens * top_k**2 * hidden / 2e8 + cells / 2e6,
        )
    if by == "cka":  # three products of channels x channels a pair at most, over the tokens that selected both
        pairs = sum(x.n_experts**2 * (x.top_k / x.n_experts) ** 2 for x in shapes) / 2
        size = 64 * cells + 24 * tokens * top_k * hidden
        seconds = 6 * pairs * tokens * hidden * min(tokens, hidden) / 2e10 + cells / 1e4
    if by == "weights":
        size, seconds = 64 * cells, cells / 2e6
    read = f" over {tokens:,} tokens" if by not in _OF_MODEL else ""
    return Work(f"{(cells - sum(x.n_experts for x in shapes)) // 2:,} pairs of experts{read}", size, seconds)


def _rows(found: Cosines, threshold: float) -> pd.DataFrame:
    """Every pair of a layer, by number."""
    i, j = np.triu_indices(len(found.cosine), 1)
    of = groups(found.cosine, threshold).of
    cosine = found.cosine[i, j]
    about = {"layer": found.layer, "expert": i, "other_layer": found.layer, "other_expert": j, "n": found.n[i, j]}
    together = np.where(of[i] == of[j], of[i], np.nan)
    return pd.DataFrame({**about, "cosine": cosine, "similarity": (cosine + 1) / 2, "group": together})
