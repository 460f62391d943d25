"""Which experts the router wants more in one class of responses than in another, chosen or not: a contrast of its logits."""

from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from probes.baselines import baseline_note
from probes.checked import checked
from probes.ranking import ExpertScores, assemble
from probes.reading import (
    Tokens,
    add_rows,
    class_notes,
    classes,
    describe,
    layers_with_logits,
    read_units,
    router_logits,
    select,
    sequence_of_row,
    template_notes,
    used_rows,
)
from probes.statistics import Adjust, Permute, Sample, check_adjust, class_members, difference, exchange
from workbench.errors import WorkbenchError
from workbench.responses import Classifier

if TYPE_CHECKING:
    from workbench.store import Store

Pooling = Literal["responses", "tokens"]


@checked
def logit_contrast(
    store: "Store",
    target: str,
    baseline: str | None = None,
    *,
    centred: bool = True,
    pooling: Pooling = "responses",
    tokens: Tokens | np.ndarray = "prompt_content",
    roles: str | list[str] | None = None,
    classifier: Classifier | None = None,
    where: str | None = None,
    permute: Permute = "auto",
    cluster: str = "auto",
    n_permutations: int = 1000,
    n_bootstrap: int = 1000,
    adjust: Adjust = "max",
    seed: int = 0,
) -> ExpertScores:
    """How much larger an expert's logit is in target than in baseline: languages that answer a fact against those that fail.

        L[j, e]  = mean over the tokens t read of response j of  z[t, e] - mean over the layer's experts of z[t, .]
        score[e] = mean of L over the target's responses - mean of L over the baseline's

    z         the router's logits, before softmax, selection bias and top-k: also of experts that were not selected
    target, baseline  labels, as in `ftri`: "correct=yes", "language=German"
    centred   False leaves z as it is. A number added to all logits of a token changes no softmax and no top-k
    pooling   "responses": as above. "tokens": over all tokens of a class at once, so long responses weigh more
    tokens, roles, classifier, where, permute, cluster, adjust  as in `ftri`

    Range (-inf, inf), in logits; 0 means no difference. n: tokens read that selected the expert; one never selected has a
    score (flag "dead"). Layers differ in the size of their logits, so a ranking over all of them favours some: p-values do
    not. Intervals resample clusters, p-values exchange labels. Needs `capture(keep={'norms', 'residual', 'logits'})`; tokens
    whose logits are not all numbers are left out, in every layer. Memory: 8 bytes a response and expert.

    Theirs: logits contrasted between languages that recall a fact and languages that fail, with a test for each expert;
    about 20 of 6,000 such experts off cost over 40 % of the answers (arXiv 2603.17102, abstract alone). Ours: means, centring,
    the pooling, intervals and p-values, since their test is not known to us.

    Not evidence that the fact is kept there: languages differ in words, and routing follows words, as the last note says.
    Contrast facts within one language too, switch the experts off, and compare with random ones.
    Raises `WorkbenchError` for unknown names, an empty class, and where the store kept no logits.
    """
    if pooling not in get_args(Pooling):
        raise WorkbenchError(f"pooling='{pooling}' is not known; it can be {', '.join(get_args(Pooling))}.")
    check_adjust(adjust)
    kept, left_out = layers_with_logits(store)
    if left_out:
        raise WorkbenchError(
            f"The store '{store.path}' kept router logits of layers {', '.join(map(str, kept))} alone, and tokens are read "
            f"that have them in every layer; capture it again without limiting layers."
        )
    chosen = classes(store, target, baseline, classifier=classifier, where=where)
    used, rows = used_rows(store, chosen)
    asked = select(store, tokens, roles, used) & rows & store.routed_tokens
    mask = _numbers(store, asked)
    read = read_units(store, chosen, mask)
    sums = _sums(store, mask, read.sequence, centred=centred)
    whole = pooling == "tokens"
    a, d = (sums, read.tokens.astype(np.float64)) if whole else (sums / read.tokens[:, None], np.ones(len(sums)))
    found = exchange(store, read.sequence, read.label, permute, cluster)
    sample = Sample(a, d, class_members(read.label, 2), np.array([1.0, -1.0]))
    estimate = difference(sample, found, n_permutations, n_bootstrap, seed, adjust)
    options = {"target": chosen.names[0], "baseline": baseline, "centred": centred, "pooling": pooling}
    options |= {"tokens": describe(tokens, roles), "roles": roles, "where": where, "permute": found.permute}
    options |= {"cluster": cluster, "adjust": adjust}
    options |= {"n_permutations": n_permutations, "n_bootstrap": n_bootstrap, "seed": seed}
    columns = {**estimate._asdict(), "n": read.selected}
    del columns["notes"]
    lost = int(asked.sum() - mask.sum())
    broken = (f"{lost} tokens whose logits are not all numbers were left out",) if lost else ()
    apart, told = template_notes(store, tokens, roles, rows), baseline_note(store, mask, seed)
    notes = (*chosen.notes, *apart, *broken, *class_notes(chosen, read), *found.notes, *estimate.notes, told)
    return assemble(store, "logit_contrast", options, read.axis, columns, notes)


def _numbers(store: "Store", asked: np.ndarray) -> np.ndarray:
    """Of the tokens asked for, bool [rows of store.tokens], those whose logits are numbers in every layer."""
    for layer in store.layers:
        seen = np.zeros(len(asked), bool)
        for row, _ in router_logits(store, layer, asked):
            seen[row] = True
        asked = seen
    return asked


def _sums(store: "Store", mask: np.ndarray, sequence: np.ndarray, *, centred: bool) -> np.ndarray:
    """[responses, experts] logits added up over the tokens of `mask`; `sequence` [responses] says whose."""
    number = np.full(store.n_prompts * store.n_samples, -1)
    number[sequence] = np.arange(len(sequence))
    of_row, parts = number[sequence_of_row(store)], []
    for layer in store.layers:
        total = np.zeros((len(sequence), store.anatomy.layer(layer).n_experts))
        for row, logits in router_logits(store, layer, mask):
            own = logits[:, : total.shape[1]]  # a class that skips comes after the experts
            add_rows(total, of_row[row], own - own.mean(axis=1, keepdims=True) if centred else own)
        parts.append(total)
    return np.concatenate(parts, axis=1)
