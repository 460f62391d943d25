"""How much each expert is used: its load, rate or mean weight."""

from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from probes.checked import checked
from probes.ranking import ExpertScores, assemble
from probes.reading import Tokens, describe, expert_axis, prompt_of_row, routed_units, template_notes, used_prompts
from probes.statistics import interval, resampled
from workbench.errors import WorkbenchError
from workbench.resample import cluster_draws, effective_clusters

if TYPE_CHECKING:
    from workbench.store import Counts, Store

Measure = Literal["load", "rate", "weight"]


@checked
def usage(
    store: "Store",
    *,
    measure: Measure = "load",
    tokens: Tokens | np.ndarray = "content",
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
    tokens, roles, where, cluster  as in `ftri`; by default prompt and response, without the chat template

    Range [0, 1] for load and rate. 0 for an expert never selected (flag "dead"). n: tokens read that selected it. The
    interval resamples clusters; no p-value, since even routing is no null that anyone expects. Shared experts, which every
    token uses, are left out. There is no negative end: the least used are the last rows.

    Not evidence of importance: an expert can be used by every token and change nothing, or once and decide.
    """
    if measure not in get_args(Measure):
        raise WorkbenchError(f"measure='{measure}' is not known; it can be {', '.join(get_args(Measure))}.")
    group, sequence = routed_units(store, tokens, roles, where, weighted=measure == "weight")
    counted = store.counts(None, group)
    axis = expert_axis(store, counted.layers)
    n = axis.of(counted.n)
    a = axis.of(store.counts(None, group, "weight").n) if measure == "weight" else n
    share = _share_of_selections(counted, axis.layer) if measure == "load" else np.ones(len(axis.layer))
    tokens_read = counted.tokens.astype(np.float64)
    clusters = resampled(store, sequence, cluster)
    low, high, why = resampled_interval(a.astype(np.float64), tokens_read, share, clusters.of_unit, n_bootstrap, seed)
    columns = {"score": a.sum(0) * share / tokens_read.sum(), "n": n.sum(0), "low": low, "high": high}
    options = {
        "measure": measure,
        "tokens": describe(tokens, roles),
        "roles": roles,
        "where": where,
        "cluster": cluster,
    }
    options |= {"n_bootstrap": n_bootstrap, "seed": seed}
    read = f"{int(tokens_read.sum())} tokens of {len(sequence)} responses read"
    apart = template_notes(store, tokens, roles, used_prompts(store, where)[prompt_of_row(store)])
    notes = (read, *apart, clusters.note, *why, "no p-value: even routing is no null that anyone expects")
    return assemble(store, "usage", options, axis, columns, notes)


def _share_of_selections(counted: "Counts", layer: np.ndarray) -> np.ndarray:
    """[experts]: tokens read over selections in the expert's layer, which is 1 / k: what makes a rate a share.

    As it was counted: the k of the anatomy is that of when the model was loaded.
    """
    made = counted.n.sum(axis=(0, 2))[np.searchsorted(counted.layers, layer)]
    return np.divide(counted.tokens.sum(), made, out=np.zeros(len(layer)), where=made > 0)


def resampled_interval(
    a: np.ndarray, tokens: np.ndarray, share: np.ndarray, cluster: np.ndarray, n_draws: int, seed: int
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """95 % interval of every expert's share, and why there is none; a, tokens, cluster: [units, ...]; share: [experts]."""
    n_clusters = len(np.unique(cluster))
    if n_draws < 1 or n_clusters < 2:
        why = "none was asked for" if n_draws < 1 else f"there is {n_clusters} cluster, and 2 are needed"
        return np.full(len(share), np.nan), np.full(len(share), np.nan), (f"no interval: {why}",)
    drawn = cluster_draws(cluster, n_draws, np.random.default_rng([seed, 1]))
    rows = drawn / (drawn @ tokens)[:, None]
    n_effective = effective_clusters(tokens, cluster)
    return *interval(lambda block: rows @ a[:, block] * share[block], a.shape[1], n_draws, n_effective), ()
