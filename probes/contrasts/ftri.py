"""Which experts are selected more in one class of responses than in another: fTRI."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from probes.baselines import Beyond, baseline_note, residual
from probes.checked import checked
from probes.ranking import ExpertScores, assemble
from probes.reading import (
    Tokens,
    class_notes,
    classes,
    describe,
    read_units,
    select,
    template_notes,
    used_rows,
)
from probes.statistics import Adjust, Permute, Sample, check_adjust, class_members, difference, exchange
from workbench.errors import WorkbenchError
from workbench.responses import Classifier

if TYPE_CHECKING:
    from workbench.store import Store

Reduce = Literal["rate", "weight", "count", "weight_sum"]
Contrast = Literal["pooled", "class_means"]


@checked
def ftri(
    store: "Store",
    target: str | Callable[[str], bool] = "refused",
    baseline: str | None = None,
    *,
    tokens: Tokens | np.ndarray = "prompt_content",
    roles: str | list[str] | None = None,
    reduce: Reduce = "rate",
    contrast: Contrast = "pooled",
    beyond: Beyond = "nothing",
    classifier: Classifier | None = None,
    where: str | None = None,
    permute: Permute = "auto",
    cluster: str = "auto",
    n_permutations: int = 1000,
    n_bootstrap: int = 1000,
    adjust: Adjust = "max",
    seed: int = 0,
) -> ExpertScores:
    """Functional Token Resonance Imaging: how much more an expert is selected when the response is of the target class.

        A[j, e]  = selections of expert e among the tokens read of response j, divided by how many tokens were read
        score[e] = mean of A over the target's responses - mean of A over the baseline's

    target, baseline  a label's value ("refused"), a label and value ("topic=war"), or (target) a function of the response.
                      Without a label that says so, "refused" and "answered" come from the rules of
                      `workbench.responses.classifier.Refusal`. No baseline: all others that have a value for the label
    tokens, roles     which tokens are read; see `probes.reading.select`. By default what the prompt says, without the chat
                      template: the notes say how much that leaves out, and tokens="prompt" reads it too
    reduce            "rate" (share of tokens), "weight" (mean routing weight a token), or without dividing by tokens
                      "count" and "weight_sum", where long prompts score high
    contrast          "pooled": target against all others as one class; "class_means": against the mean of the others'
                      class means
    beyond            "token", "bigram": what is left when the word that is read is known (`probes.baselines.beyond`); an expert
                      whose selection is a function of the word has 0, and the flag "follows the token alone"
    classifier        labels the responses in place of labels in the store
    where             only prompts of "split=ranking", say
    permute, cluster  see `probes.statistics.exchange`; adjust: see `probes.statistics.adjust`

    Range [-1, 1] for "rate"; 0 means no difference, also for an expert never selected (flag "dead"). Unit: share of
    tokens; routing weight, selections a response for the other reductions. n: tokens read at which it was selected.

    Paper: arXiv 2502.11096 (MoTE). Verified: prompt tokens are read, the selections of each layer recorded, refused set
    against answered prompts, experts of all layers ranked in one list. Second-hand: counts summed over prompt tokens
    (reduce="count"), class means, target minus all others. Ours: leaving out the template, the rate
    (length is a confounder; the notes give the mean number of tokens read by class), the other token sets, weights,
    "class_means", `beyond`, intervals (with rates of words as they are) and p-values. The last note of its own is the
    baseline: how well words alone predict selection in held-out prompts.

    Not evidence that the expert causes the behaviour: whatever differs between the classes (topic, wording, length) moves
    the score. Steer, and compare with random experts.
    Raises `WorkbenchError` for unknown names and when a class is empty.
    """
    _check(reduce, contrast, beyond, adjust)
    chosen = classes(store, target, baseline, split_rest=contrast == "class_means", classifier=classifier, where=where)
    mask, weighted = select(store, tokens, roles, used_rows(store, chosen)[0]), reduce in ("weight", "weight_sum")
    read, marks, left = residual(
        store, read_units(store, chosen, mask, weighted=weighted), mask, beyond, weighted=weighted
    )
    found = exchange(store, read.sequence, read.label, permute, cluster)
    per_token = reduce in ("rate", "weight")
    a = read.a / read.tokens[:, None] if per_token else read.a
    member = class_members(read.label, len(chosen.names))
    sample = Sample(a, np.ones(len(a)), member, _coefficients(len(member)))
    estimate = difference(sample, found, n_permutations, n_bootstrap, seed, adjust)
    options = {"target": chosen.names[0], "baseline": baseline, "tokens": describe(tokens, roles), "roles": roles}
    options |= {
        "reduce": reduce,
        "contrast": contrast,
        "beyond": beyond,
        "where": where,
        "permute": found.permute,
        "cluster": cluster,
    }
    options |= {"adjust": adjust, "n_permutations": n_permutations, "n_bootstrap": n_bootstrap, "seed": seed}
    columns = {**estimate._asdict(), "n": read.selected}
    del columns["notes"]
    rows = used_rows(store, chosen)[1]
    apart, told = (
        template_notes(store, tokens, roles, rows),
        baseline_note(store, mask & rows & store.routed_tokens, seed),
    )
    notes = (*chosen.notes, *apart, *class_notes(chosen, read), *found.notes, *estimate.notes, *left, told)
    return assemble(store, "ftri", options, read.axis, columns, notes, marks)


def _coefficients(n_classes: int) -> np.ndarray:
    return np.array([1.0] + [-1.0 / (n_classes - 1)] * (n_classes - 1))


def _check(reduce: str, contrast: str, beyond: str, adjust: Adjust) -> None:
    for name, value, kind in (("reduce", reduce, Reduce), ("contrast", contrast, Contrast), ("beyond", beyond, Beyond)):
        known = get_args(kind)
        if value not in known:
            raise WorkbenchError(f"{name}='{value}' is not known; it can be {', '.join(known)}.")
    check_adjust(adjust)
