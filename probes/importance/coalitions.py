"""Which experts a layer's coalitions need: SHAPE's score, beside plain frequency."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from probes.checked import checked
from probes.importance.sums import reading
from probes.ranking import ExpertScores, assemble
from probes.reading import Tokens, describe, expert_axis

if TYPE_CHECKING:
    from workbench.store import Store


@checked
def shape(
    store: "Store",
    *,
    tokens: Tokens | np.ndarray = "content",
    roles: str | list[str] | None = None,
    where: str | None = None,
) -> ExpertScores:
    """How much more often an expert completes its coalitions than the one that needs it least would have it.

        v(A)     = tokens read whose selected set is exactly A
        N(B)     = sum of v over all A that hold B and one expert more
        alpha[e] = min over A with e of  v(A) / N(A without e)
        score[e] = 1/T * sum over A with e of  v(A) - alpha[e] * N(A without e)

    T  tokens read. tokens, roles, where as in `ftri`; by default prompt and response, without the chat template

    Range [0, 1], at most the share of tokens that select the expert. 0 for an expert never selected (flag "dead"), for one whose
    coalitions all need it alike, for one that is always chosen with sets that nobody else completes, and for *every* expert
    where routing is top-1 (its one coalition is itself). n: tokens read that selected it. No interval: a minimum over sets has no
    valid bootstrap. No p-value.

    **Beside frequency.** The notes give the rank correlation of the score with plain frequency, over all experts and as the
    mean of the layers: where it is close to 1 the coalitions say nothing that `usage` does not. The first four of the
    repository's file for gsm8k rank as their counts do.

    Paper: arXiv 2606.09886 (IJCNN 2026); v, N, alpha and the sum as in repository Alizen-1009/Shapley-Moe, read for the formula
    (it has no licence; nothing is copied). Its constant before the sum ranks alike; 1 / T is ours, and so is the
    comparison with frequency. Its choice keeps the smallest set with a share of the sum of scores, bisected to a budget.

    Not evidence of a coalition's worth: no output is measured, v counts tokens. With many experts most sets are seen once,
    and their alpha is the sample's.
    Memory: a layer's routing at a time ([tokens, top-k]) and its different sets.
    """
    read = reading(store, tokens, roles, where, "prompt", weighted=False, draws=0)
    layers = [_layer(store.routing(layer).expert[read.of_row >= 0], store.anatomy.layer(layer).n_experts)
              for layer in store.layers]  # fmt: skip
    axis = expert_axis(store, store.layers)
    n = np.concatenate([found.n for found in layers])
    score = np.concatenate([found.phi for found in layers]) / read.tokens.sum()
    options = {"tokens": describe(tokens, roles), "roles": roles, "where": where}
    sets = [found.n_sets for found in layers]
    said = f"{min(sets)} to {max(sets)} different sets a layer"
    none = "no interval: a minimum over sets has no valid bootstrap; no p-value"
    notes = (*read.notes, said, _beside_frequency(axis.layer, score, n), none)
    return assemble(store, "shape", options, axis, {"score": score, "n": n}, notes)


class _Layer(NamedTuple):
    phi: np.ndarray  # [experts], in tokens
    n: np.ndarray  # [experts] tokens that selected it
    n_sets: int


def _layer(expert: np.ndarray, n_experts: int) -> _Layer:
    """From [tokens, slots] selected experts (-1: an empty slot) to every expert's sum."""
    sets, count = np.unique(np.sort(expert, axis=1), axis=0, return_counts=True)
    k = sets.shape[1]
    member = sets.T.ravel()  # expert by place in the set, set after set
    v = np.tile(count, k)
    rest = np.concatenate([np.delete(sets, place, axis=1) for place in range(k)])
    which = np.unique(rest, axis=0, return_inverse=True)[1].ravel() if k > 1 else np.zeros(len(rest), np.int64)
    real = member >= 0
    completed = np.bincount(which[real], v[real])[which]
    alpha = np.ones(n_experts)
    np.minimum.at(alpha, member[real], v[real] / completed[real])
    phi = np.bincount(member[real], v[real] - alpha[member[real]] * completed[real], n_experts)
    return _Layer(np.maximum(phi, 0), np.bincount(member[real], v[real], n_experts).astype(np.int64), len(sets))


def _beside_frequency(layer: np.ndarray, score: np.ndarray, n: np.ndarray) -> str:
    whole = _rank_correlation(score, n)
    each = [_rank_correlation(score[layer == one], n[layer == one]) for one in np.unique(layer)]
    known = [value for value in each if value == value]
    if whole != whole or not known:
        return "no rank correlation with frequency: all experts have one score"
    return f"rank correlation with plain frequency {whole:.3f} over all experts, {np.mean(known):.3f} within layers on average"


def _rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's, ties at their mean rank; NaN where one of the two is constant."""
    one, other = (pd.Series(np.round(x, 12)).rank().to_numpy(np.float64) for x in (a, b))
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return float("nan")
    return float(np.corrcoef(one, other)[0, 1])
