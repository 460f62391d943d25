"""Which experts write small vectors: MC-Suite's minimum norm, of outputs or of the weights that make them."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from probes.checked import checked
from probes.importance.own_weights import own_weights
from probes.importance.saliency import LEAST, saliency
from probes.ranking import ExpertScores, assemble, steering_note
from probes.reading import Tokens, describe
from workbench.errors import WorkbenchError

if TYPE_CHECKING:
    from workbench.store import Store

Of = Literal["outputs", "weights"]
Per = Literal["selection", "token"]


@checked
def min_norm(
    store: "Store",
    *,
    of: Of = "outputs",
    per: Per = "selection",
    tokens: Tokens | np.ndarray = "content",
    roles: str | list[str] | None = None,
    where: str | None = None,
    cluster: str = "auto",
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> ExpertScores:
    """How large the vectors are that an expert writes; the experts that can go write the smallest.

        outputs:  score[e] = sum over the tokens t read that selected e of |y[t, e]|,  divided by
                             the tokens that selected e  (per="selection"), or all tokens read  (per="token")
        weights:  score[e] = sqrt(sum of theta^2)  over the expert's matrices: their Frobenius norm, n: how many numbers

    |y|  L2 norm of the expert's own output, before its routing weight
    tokens, roles, where, cluster  as in `ftri`; by default prompt and response, without the chat template. With of="weights"
         no token is read and they say nothing

    Range [0, inf). Null for outputs per selection of an expert that no token selected (flag "dead"), and for weights that are
    not finite. The interval resamples clusters (outputs alone); no p-value: a size has no null. The experts that can go are
    the *last* rows. Where the store has matrices, a note says how outputs rank beside weights: near 1 no forward was needed.

    Theirs: of 16 criteria of MC-Suite (arXiv 2504.05586; from notes on the paper) the minimum expert activation norm and the
    minimum gradient entropy did best, pruning 12.5 % of the experts a round, estimated anew and tuned in between: 40.79 in MMLU
    at half the experts, 18.91 in one shot. Whether the norm is summed or averaged is not known, hence `per`. Ours: both
    readings, which are MAN and EAN of `saliency` as a criterion by itself, and the norm of the weights beside them. One ranking
    is one round: prune, capture again, rank again.

    Not evidence that an expert can go: a large vector may be cancelled by another, a small one may decide.
    Raises `WorkbenchError` for unknown words, and where the store kept no norms, or no matrices, and they are asked for.
    """
    if of not in get_args(Of) or per not in get_args(Per):
        raise WorkbenchError(
            f"of='{of}' and per='{per}' name no norm; of is {', '.join(get_args(Of))}, per is {', '.join(get_args(Per))}."
        )
    options = {"of": of, "per": per, "tokens": describe(tokens, roles), "roles": roles, "where": where}
    options |= {"cluster": cluster, "n_bootstrap": n_bootstrap, "seed": seed}
    if of == "weights":
        return _of_weights(store, options)
    how = {"roles": roles, "where": where, "cluster": cluster, "n_bootstrap": n_bootstrap, "seed": seed}
    found = saliency(store, frequency=per == "token", gate=0.0, power=1.0, tokens=tokens, **how)
    steered = steering_note(store)
    # between them stands which member of saliency this is
    notes = (*steered, *found.notes[len(steered) + 1 :], *_beside_weights(store, found))
    return replace(found, method="min_norm", options=options, notes=notes)


def _of_weights(store: "Store", options: dict[str, object]) -> ExpertScores:
    own = own_weights(store)
    notes = (LEAST, "weights alone: no token is read; no interval, no p-value")
    columns = {"score": np.sqrt(own.sum_squares), "n": own.n}
    return assemble(store, "min_norm", options, own.axis, columns, (*notes, *own.notes))


def _beside_weights(store: "Store", found: ExpertScores) -> tuple[str, ...]:
    """The rank correlation of outputs' norms with that of the weights, over experts that have both."""
    if not store.has("matrices"):
        return ()
    own = own_weights(store)
    norms = dict(zip(zip(own.axis.layer, own.axis.expert, strict=True), np.sqrt(own.sum_squares), strict=True))
    frame = found.frame[["layer", "expert", "score"]].copy()
    frame["weights"] = [norms.get(pair, np.nan) for pair in zip(frame["layer"], frame["expert"], strict=True)]
    both: Any = frame.dropna()
    if both["score"].nunique() < 2 or both["weights"].nunique() < 2:
        return ()
    said = both["score"].rank().corr(both["weights"].rank())
    return (f"rank correlation with the norm of their weights, over {len(both)} experts: {said:.2f}",)
