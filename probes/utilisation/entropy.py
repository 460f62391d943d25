"""How evenly each layer routes: the entropy of its load and of its tokens' weights."""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from probes.checked import checked
from probes.ranking import LayerTable
from probes.reading import Tokens, describe, prompt_of_row, routed_units, template_notes, used_prompts
from probes.statistics import ratio_interval, resampled

if TYPE_CHECKING:
    from workbench.store import Store


class _Layer(NamedTuple):
    row: dict[str, Any]
    """What its load says."""
    bits: np.ndarray
    """[clusters] sums of its tokens' entropies."""
    over: np.ndarray
    """[clusters] how many tokens these are."""


@checked
def routing_entropy(
    store: "Store",
    *,
    tokens: Tokens | np.ndarray = "content",
    roles: str | list[str] | None = None,
    where: str | None = None,
    cluster: str = "auto",
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> LayerTable:
    """How evenly each layer routes: over all tokens read (load), and within one token (its weights).

        load_entropy_bits   H = -sum over e of p[e] log2 p[e]    p[e]  share of the layer's selections that are expert e's
        evenness            J = H / log2 E                       E     experts of the layer (n_experts)
        token_entropy_bits  mean over t of -sum over s of q[t, s] log2 q[t, s]
                            q[t, s]  routing weight in slot s of token t, over the sum of t's weights

    tokens, roles, where, cluster  as in `ftri`; by default prompt and response, without the chat template

    A row a layer; n: routed tokens read; n_dead: experts that none of them selects. 0 log 0 is 0. Load entropy is 0 where one
    expert takes all and log2 E where all take alike; evenness [0, 1], and 1 in a layer of one expert. Token entropy is 0 where
    one expert has all the weight, also at top-1, and log2 k where k weigh alike. Tokens with a weight that is not finite are
    left out of it, and it is null where the store has no weights.
    low, high: 95 % interval of token_entropy_bits, over resampled clusters. Load entropy has none: counted from few selections
    it is too low (by about (E - 1) / (2 N ln 2) bits for N independent ones, Miller 1955), and that of a resample, in which
    tokens repeat, lower still, so that its interval would lie below the value. No p-value: even routing is no null.

    Paper: none of MoE models; evenness is Pielou's J of ecology (1966), quoted from memory. Ours: the table, tokens' weights
    divided by their sum, so that models that renormalise and others read alike, and the interval.

    Not evidence that a layer routes well: even load says nothing of who is selected when. Nor of how sure the router was: an
    expert that was not selected is not in it; that is in the logits (`capture(..., keep={"logits"})`).
    Raises `WorkbenchError` when no token read was routed.
    """
    group, sequence = routed_units(store, tokens, roles, where)
    clusters, read = resampled(store, sequence, cluster), group >= 0
    of_token = clusters.of_unit[group[read]]
    weighed = np.zeros(len(of_token), bool) if "weight" in store.lacks else store.finite_weights[read]
    found = [_measured(store, layer, read, weighed, of_token) for layer in store.layers]
    bits, over = (np.stack(column, axis=1) for column in ([one.bits for one in found], [one.over for one in found]))
    low, high, why = ratio_interval(bits, over, np.bincount(of_token), n_bootstrap, seed)
    total, n = bits.sum(axis=0), over.sum(axis=0)
    own = np.divide(total, n, out=np.full(len(n), np.nan), where=n > 0)
    frame: Any = pd.DataFrame([one.row for one in found])
    frame = frame.assign(n=len(of_token), token_entropy_bits=own, low=low, high=high)
    options = {"tokens": describe(tokens, roles), "roles": roles, "where": where, "cluster": cluster}
    options |= {"n_bootstrap": n_bootstrap, "seed": seed}
    apart = template_notes(store, tokens, roles, used_prompts(store, where)[prompt_of_row(store)])
    said = f"{len(of_token)} tokens of {len(sequence)} responses read"
    notes = (said, *apart, *_left_out(store, weighed), clusters.note, *why, *_WHOSE)
    return LayerTable.of(store, "routing_entropy", options, frame[[*_TYPES]].astype(_TYPES), notes)


_WHOSE = (
    "low and high are token entropy's; load entropy has none: that of a resample is biased down",
    "no p-value: even routing is no null that anyone expects",
)
_TYPES = {"layer": "int32", "n": "int64", "n_experts": "int32", "load_entropy_bits": "float64", "evenness": "float64",
          "token_entropy_bits": "float64", "low": "float64", "high": "float64", "n_dead": "int32"}  # fmt: skip
"""The columns in their order."""


def _measured(store: "Store", layer: int, read: np.ndarray, weighed: np.ndarray, cluster: np.ndarray) -> _Layer:
    """read: bool over `store.tokens`; weighed, cluster: [tokens read] whose weights count, and where."""
    routing, n_experts = store.routing(layer), store.anatomy.layer(layer).n_experts
    expert, size = routing.expert[read], int(cluster.max()) + 1
    n = np.bincount(expert[expert >= 0], minlength=n_experts)
    bits, most = float(entropy_bits(n[None] / max(n.sum(), 1))[0]), np.log2(n_experts)
    row = {"layer": layer, "n_experts": n_experts, "load_entropy_bits": bits, "evenness": bits / most if most else 1.0}
    kept = weighed & (expert >= 0).any(axis=1)
    own = weight_entropy(routing.weight[read][kept].astype(np.float64))
    over = np.bincount(cluster[kept], minlength=size).astype(np.float64)
    return _Layer(row | {"n_dead": int((n == 0).sum())}, np.bincount(cluster[kept], own, size), over)


def _left_out(store: "Store", weighed: np.ndarray) -> tuple[str, ...]:
    if "weight" in store.lacks:
        return ("no token entropy: the store holds expert ids without their routing weights",)
    left = int((~weighed).sum())
    return (f"{left} tokens with a routing weight that is not finite are left out of token entropy",) if left else ()


def weight_entropy(weight: np.ndarray) -> np.ndarray:
    """[tokens] entropy in bits of each token's routing weights [tokens, k] over their sum; 0 where nothing was routed."""
    total = weight.sum(axis=1, keepdims=True)
    return entropy_bits(np.divide(weight, total, out=np.zeros_like(weight), where=total > 0).astype(np.float64))


def entropy_bits(share: np.ndarray) -> np.ndarray:
    """[rows] entropy of shares [rows, n] that sum to 1; 0 log 0 = 0."""
    return 0.0 - (share * np.log2(np.where(share > 0, share, 1.0))).sum(axis=1)  # no -0 where one has it all
