"""Which expert the router gives most of a topic's text to: the affinity by which UOE picks the one to unlearn in."""

from typing import TYPE_CHECKING

import numpy as np

from probes.checked import checked
from probes.ranking import ExpertScores, assemble
from probes.reading import (
    Tokens,
    add_rows,
    describe,
    expert_axis,
    layers_with_logits,
    prompt_of_row,
    routed_units,
    router_logits,
    template_notes,
    used_prompts,
)
from probes.statistics import ratio_interval, resampled

if TYPE_CHECKING:
    from workbench.store import Store


@checked
def unlearning_affinity(
    store: "Store",
    *,
    tokens: Tokens | np.ndarray = "content",
    roles: str | list[str] | None = None,
    where: str | None = None,
    cluster: str = "auto",
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> ExpertScores:
    """How much of the router's softmax an expert has, on average over the responses of what is to be forgotten.

        score[e] = mean over responses j of  1/L_j * sum over the tokens t read of j of  softmax(z[t])[e]

    z  the router's logits over all experts of the layer, chosen or not; L_j  tokens read of response j
    tokens, roles, where, cluster  as in `ftri`. Choose the forget set by `where`: where="topic=cyber"

    Range [0, 1]; a layer sums to 1, and even routing gives 1 / experts. An expert never selected can have a score (flag "dead").
    n: tokens read that selected it. The interval resamples clusters of responses; no p-value: even routing is no null that
    anyone expects. Needs `capture(keep={'norms', 'residual', 'logits'})`. Tokens whose logits are not all numbers are left out.

    Paper: arXiv 2411.18797 (ACL 2025), second-hand: softmax gate scores averaged over tokens, then over samples, one ranking over
    all layers, of which the first expert alone is trained. Not known: whether the gate is taken before or after top-k; the
    softmax over all experts is our reading. Where a router scores by a sigmoid this softmax is ours altogether, and a note says
    so. Ours: intervals, other token sets.

    Not evidence that the topic's knowledge lies there: an expert that every text is given to comes first for every topic. Ask
    for ordinary prompts too and compare. Memory: 16 bytes a cluster and expert, and one batch of logits.
    Raises `WorkbenchError` where the store kept no logits.
    """
    group, sequence = routed_units(store, tokens, roles, where, weighted=True)
    found = resampled(store, sequence, cluster)
    of_unit = found.of_unit if n_bootstrap > 0 else np.zeros(len(sequence), np.int64)
    layers, left_out = layers_with_logits(store)
    total, axis = _summed_means(store, layers, group, of_unit), expert_axis(store, layers)
    responses = np.bincount(of_unit).astype(np.float64)
    score = total.sum(axis=0) / responses.sum()
    low, high, why = ratio_interval(total, responses[:, None], responses, n_bootstrap, seed)
    options = {"tokens": describe(tokens, roles), "roles": roles, "where": where, "cluster": cluster}
    options |= {"n_bootstrap": n_bootstrap, "seed": seed}
    group_of_all = np.where(group >= 0, 0, -1)
    n = axis.of(store.counts(None, group_of_all, layers=layers).n).sum(axis=0)
    apart = template_notes(store, tokens, roles, used_prompts(store, where)[prompt_of_row(store)])
    said = f"{int((group >= 0).sum())} tokens of {len(sequence)} responses read"
    notes = (said, *left_out, *apart, *_other_rule(store), *([found.note] if n_bootstrap > 0 else []), *why)
    none = "no p-value: even routing is no null that anyone expects"
    return assemble(
        store, "unlearning_affinity", options, axis, {"score": score, "n": n, "low": low, "high": high}, (*notes, none)
    )


def _summed_means(store: "Store", layers: tuple[int, ...], group: np.ndarray, of_unit: np.ndarray) -> np.ndarray:
    """[clusters, experts] each response's mean softmax, added up by cluster."""
    length = np.bincount(group[group >= 0], minlength=len(of_unit))
    parts = []
    for layer in layers:
        total = np.zeros((int(of_unit.max()) + 1, store.anatomy.layer(layer).n_experts))
        for row, logits in router_logits(store, layer, group >= 0):
            share = np.exp(logits - logits.max(axis=1, keepdims=True))
            share /= share.sum(axis=1, keepdims=True) * length[group[row]][:, None]
            add_rows(total, of_unit[group[row]], share[:, : total.shape[1]])
        parts.append(total)
    return np.concatenate(parts, axis=1)


def _other_rule(store: "Store") -> tuple[str, ...]:
    rules = {store.anatomy.layer(layer).rule for layer in store.layers}
    scores = sorted({rule.score for rule in rules if rule is not None and rule.score != "softmax"})
    return (f"the router scores by {', '.join(scores)}; the softmax over its logits is ours",) if scores else ()
