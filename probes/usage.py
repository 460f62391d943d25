"""How much each expert is used: load, with routing entropy, co-selection and dead experts beside it."""

from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import pandas as pd

from probes.assemble import assemble, expert_axis
from probes.exchange import resampled
from probes.groups import used_prompts
from probes.inference import interval
from probes.scores import DEAD, ExpertScores
from probes.selection import Tokens, describe, prompt_of_row, select, sequence_of_row
from workbench.anatomy import ExpertRef
from workbench.errors import WorkbenchError
from workbench.resample import cluster_draws, effective_clusters
from workbench.store import finite_weights, routed_tokens

if TYPE_CHECKING:
    from workbench.store import Counts, Store

Measure = Literal["load", "rate", "weight"]


def usage(
    store: "Store",
    *,
    measure: Measure = "load",
    tokens: "Tokens | np.ndarray" = "all",
    roles: str | list[str] | None = None,
    where: str | None = None,
    cluster: str = "auto",
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> ExpertScores:
    """How often each expert is selected, pooled over the tokens read.

    measure  "load"    share of its layer's selections: sums to 1 in a layer, 1 / experts when even (ESFT's token selection
                       ratio, arXiv 2407.01906)
             "rate"    share of tokens that select it: sums to top-k in a layer (SAFEx's usage, arXiv 2506.17368)
             "weight"  mean routing weight a token, 0 where not selected. ESFT's average gate score where the model does
                       not renormalise; another thing where it does
    tokens, roles, where, cluster  as in `ftri`

    Range [0, 1] for load and rate. 0 for an expert never selected (flag "dead"). n: tokens read that selected it. The
    interval resamples clusters; no p-value, since even routing is no null that anyone expects. Shared experts, which every
    token uses, are left out. There is no negative end: the least used are the last rows.

    Not evidence of importance: an expert can be used by every token and change nothing, or once and decide.
    """
    if measure not in get_args(Measure):
        raise WorkbenchError(f"measure='{measure}' is not known; it can be {', '.join(get_args(Measure))}.")
    group, sequence = _units(store, tokens, roles, where, weighted=measure == "weight")
    counted = store.counts(None, group)
    axis = expert_axis(store, counted.layers)
    n = axis.of(counted.n)
    a = axis.of(store.counts(None, group, "weight").n) if measure == "weight" else n
    share = _share_of_selections(counted, axis.layer) if measure == "load" else np.ones(len(axis.layer))
    tokens_read = counted.tokens.astype(np.float64)
    clusters = resampled(store, sequence, cluster)
    low, high, why = _interval(a.astype(np.float64), tokens_read, share, clusters.of_unit, n_bootstrap, seed)
    columns = {"score": a.sum(0) * share / tokens_read.sum(), "n": n.sum(0), "low": low, "high": high}
    options = {"measure": measure, "tokens": describe(tokens), "roles": roles, "where": where, "cluster": cluster}
    options |= {"n_bootstrap": n_bootstrap, "seed": seed}
    read = f"{int(tokens_read.sum())} tokens of {len(sequence)} responses read"
    notes = (read, clusters.note, *why, "no p-value: even routing is no null that anyone expects")
    return assemble(store, "usage", options, axis, columns, notes)


def routing_entropy(
    store: "Store",
    *,
    tokens: "Tokens | np.ndarray" = "all",
    roles: str | list[str] | None = None,
    where: str | None = None,
) -> pd.DataFrame:
    """How evenly each layer routes: layer, n_experts, load_entropy_bits, evenness, token_entropy_bits, n_dead.

    load_entropy_bits  entropy of the layer's load, from 0 (one expert takes all) to log2(n_experts) (even)
    evenness           the same over its maximum, 0 to 1
    token_entropy_bits mean over tokens of the entropy of the token's own routing weights, divided by their sum: from 0
                       (one expert has all the weight) to log2(top_k). Not the router's entropy over all experts. Tokens
                       with a weight that is not finite are left out
    """
    group, _ = _units(store, tokens, roles, where)
    finite = finite_weights(store)
    scores: Any = usage(store, tokens=tokens, roles=roles, where=where, n_bootstrap=0).frame
    rows: list[dict[str, Any]] = []
    for layer, part in scores.groupby("layer"):
        load = part["score"].to_numpy(np.float64)
        bits, most = _entropy_bits(load[None])[0], np.log2(len(load))
        weight = store.routing(int(layer)).weight[(group >= 0) & finite].astype(np.float64)
        per_token = _entropy_bits(weight / weight.sum(axis=1, keepdims=True)).mean()
        evenness = bits / most if most else 1.0
        rows.append({"layer": layer, "n_experts": len(load), "load_entropy_bits": bits, "evenness": evenness,
                     "token_entropy_bits": per_token, "n_dead": int((part["n"] == 0).sum())})  # fmt: skip
    return pd.DataFrame(rows).astype({"layer": "int32", "n_experts": "int32", "n_dead": "int32"})


def co_selection(
    store: "Store",
    layer: int,
    *,
    tokens: "Tokens | np.ndarray" = "all",
    roles: str | list[str] | None = None,
    where: str | None = None,
) -> pd.DataFrame:
    """Share of the tokens read that select both experts of one layer: a symmetric frame, experts by experts.

    The diagonal is each expert's own rate. Two experts that are chosen independently would show the product of their
    rates; with top-k routing every pair competes for slots, so even routing shows less. Range [0, 1].
    """
    if layer not in store.layers:
        raise WorkbenchError(
            f"Layer {layer} of '{store.path}' has no slots; it has layers {', '.join(map(str, store.layers))}."
        )
    group, _ = _units(store, tokens, roles, where)
    expert = store.routing(layer).expert[group >= 0]
    n = store.anatomy.layer(layer).n_experts
    chosen = np.zeros((len(expert), n), np.float32)
    row, slot = np.nonzero(expert >= 0)  # an empty slot is no expert
    chosen[row, expert[row, slot]] = 1
    together = chosen.T @ chosen / len(expert)
    numbers = pd.RangeIndex(n, name="expert")
    return pd.DataFrame(together.astype(np.float64), index=numbers, columns=numbers)


def dead_experts(
    store: "Store",
    *,
    tokens: "Tokens | np.ndarray" = "all",
    roles: str | list[str] | None = None,
    where: str | None = None,
) -> tuple[ExpertRef, ...]:
    """The experts that no token read selected, in order of layer and number."""
    return tuple(sorted(usage(store, tokens=tokens, roles=roles, where=where, n_bootstrap=0).flagged(DEAD)))


def _share_of_selections(counted: "Counts", layer: np.ndarray) -> np.ndarray:
    """[experts]: tokens read over selections in the expert's layer, which is 1 / k: what makes a rate a share.

    As it was counted: the k of the anatomy is that of when the model was loaded.
    """
    made = counted.n.sum(axis=(0, 2))[np.searchsorted(counted.layers, layer)]
    return np.divide(counted.tokens.sum(), made, out=np.zeros(len(layer)), where=made > 0)


def _units(
    store: "Store",
    tokens: "Tokens | np.ndarray",
    roles: str | list[str] | None,
    where: str | None,
    *,
    weighted: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """The number of each row's unit (-1: not read) and the sequence number of each unit."""
    used = used_prompts(store, where)
    read = select(store, tokens, roles, used) & used[prompt_of_row(store)] & routed_tokens(store)
    read = read & finite_weights(store) if weighted else read
    if not read.any():
        raise WorkbenchError(f"None of the tokens read of '{store.path}' was routed; read other tokens.")
    sequence, number = np.unique(sequence_of_row(store)[read], return_inverse=True)
    group = np.full(len(read), -1, np.int64)
    group[read] = number
    return group, sequence


def _interval(
    a: np.ndarray, tokens: np.ndarray, share: np.ndarray, cluster: np.ndarray, n_draws: int, seed: int
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    n_clusters = len(np.unique(cluster))
    if n_draws < 1 or n_clusters < 2:
        why = "none was asked for" if n_draws < 1 else f"there is {n_clusters} cluster, and 2 are needed"
        return np.full(len(share), np.nan), np.full(len(share), np.nan), (f"no interval: {why}",)
    drawn = cluster_draws(cluster, n_draws, np.random.default_rng([seed, 1]))
    rows = drawn / (drawn @ tokens)[:, None]
    n_effective = effective_clusters(tokens, cluster)
    return *interval(lambda block: rows @ a[:, block] * share[block], a.shape[1], n_draws, n_effective), ()


def _entropy_bits(share: np.ndarray) -> np.ndarray:
    """[rows] entropy of shares [rows, n] that sum to 1; 0 log 0 = 0."""
    return -(share * np.log2(np.where(share > 0, share, 1.0))).sum(axis=1)
