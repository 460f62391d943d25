"""Which experts switch between the two sides of paired prompts: SteerMoE's risk difference."""

from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from probes.baselines import Beyond, baseline_note, residual
from probes.checked import checked
from probes.ranking import ExpertScores, assemble
from probes.reading import (
    Read,
    Tokens,
    class_notes,
    classes,
    describe,
    prompt_column,
    read_units,
    select,
    shared_end,
    template_notes,
    used_rows,
    whole,
)
from probes.renamed import renamed
from probes.statistics import Adjust, Permute, Sample, check_adjust, class_members, difference, exchange
from workbench.errors import WorkbenchError
from workbench.responses import Classifier

if TYPE_CHECKING:
    from workbench.store import Store

Pooling = Literal["tokens", "pairs"]


@renamed(positive="target", negative="baseline")
@checked
def contrast(
    store: "Store",
    target: str,
    baseline: str | None = None,
    *,
    tokens: Tokens | Literal["shared_end"] | np.ndarray = "prompt_content",
    roles: str | list[str] | None = None,
    pooling: Pooling = "tokens",
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
    """The risk difference of an expert's selection between target and baseline, pooled over tokens.

        score[e] = A1[e] / N1 - A2[e] / N2        A: tokens that selected e; N: tokens read; 1 target, 2 baseline

    target, baseline  labels, as in `ftri`; the two sides of a pair
    tokens, roles     which tokens are read (`probes.reading.select`); "shared_end": the tokens with which both prompts
                      of a pair end, such as the question after a document (with roles="user": without the template).
                      SteerMoE reads the shared question for faithfulness, the reply's tokens for safety
    pooling           "tokens": as above, long prompts weigh more. "pairs": the mean over pairs of the difference of the
                      two sides' rates; pairs without both sides are left out
    beyond, the rest  as in `ftri`

    Range [-1, 1]; 0 means no difference, also for an expert never selected (flag "dead"). Unit: share of tokens. n: tokens
    read at which it was selected. SteerMoE forces experts of the positive end and turns those of the negative end off.

    Paper: arXiv 2509.09660 (SteerMoE), formula and pooling read in paper and code; its ranking is by the absolute value.
    Ours: "pairs", "shared_end", `beyond`, intervals and p-values.

    Not evidence that switching the expert changes behaviour, nor that it tells the classes apart within a token position:
    pooled over tokens of different texts it also counts that texts differ.
    Raises `WorkbenchError` for unknown names, an empty class, and "pairs" or "shared_end" without pairs.
    """
    for named, value, kind in (("pooling", pooling, Pooling), ("beyond", beyond, Beyond)):
        if value not in get_args(kind):
            raise WorkbenchError(f"{named}='{value}' is not known; it can be {', '.join(get_args(kind))}.")
    check_adjust(adjust)
    chosen = classes(store, target, baseline, classifier=classifier, where=where)
    used, rows = used_rows(store, chosen)
    name = tokens if isinstance(tokens, str) else "mask"
    mask = (
        shared_end(store, chosen.of_sequence)
        if name == "shared_end"
        else select(store, whole(tokens, roles), None, used)
    )  # pyright: ignore[reportArgumentType]
    mask = mask if roles is None else mask & select(store, "all", roles)
    whole_read = read_units(store, chosen, mask)
    read, marks, left = residual(store, whole_read, mask, beyond)
    sample, read, paired = _by_pairs(store, read) if pooling == "pairs" else (_by_tokens(read), read, ())
    found = exchange(store, read.sequence, read.label, permute, cluster)
    estimate = difference(sample, found, n_permutations, n_bootstrap, seed, adjust)
    selected = whole_read.a[np.isin(whole_read.sequence, read.sequence)].sum(axis=0)
    options = {"target": chosen.names[0], "baseline": baseline, "tokens": describe(tokens, roles), "roles": roles}  # pyright: ignore[reportArgumentType]
    options |= {"pooling": pooling, "beyond": beyond, "where": where, "permute": found.permute, "cluster": cluster}
    options |= {"adjust": adjust, "n_permutations": n_permutations, "n_bootstrap": n_bootstrap, "seed": seed}
    columns = {**estimate._asdict(), "n": selected.astype(np.int64)}
    del columns["notes"]
    notes = (
        *chosen.notes,
        *template_notes(store, tokens, roles, rows),
        *paired,
        *class_notes(chosen, read),
        *found.notes,
        *estimate.notes,
        *left,
        baseline_note(store, mask & rows & store.routed_tokens, seed),
    )
    return assemble(store, "contrast", options, read.axis, columns, notes, marks)


def _by_tokens(read: Read) -> Sample:
    return Sample(read.a, read.tokens.astype(np.float64), class_members(read.label, 2), np.array([1.0, -1.0]))


def _by_pairs(store: "Store", read: Read) -> tuple[Sample, Read, tuple[str, ...]]:
    """Every pair weighs the same: a response weighs one over the responses of its side of its pair."""
    column = prompt_column(store, "pair")
    names = [column[s // store.n_samples] for s in read.sequence]
    keys = sorted({name for name in names if name is not None})
    code = np.array([keys.index(name) if name is not None else -1 for name in names], np.int64)
    count = np.zeros((2, len(keys) + 1), np.int64)
    np.add.at(count, (read.label, code), 1)
    complete = np.asarray((count > 0).all(axis=0))
    complete[-1] = False  # where prompts without a pair were counted
    if not complete.any():
        raise WorkbenchError(
            f"'{store.path}' has no pair with a response on both sides among {len(keys)} pairs; use pooling='tokens', or give "
            f"prompts the same 'pair'."
        )
    kept = np.flatnonzero(complete[code])
    read = read._replace(a=read.a[kept], tokens=read.tokens[kept], sequence=read.sequence[kept], label=read.label[kept])
    member = class_members(read.label, 2) / count[:, code[kept]]
    left = int((~complete[:-1]).sum())
    note = f"{int(complete.sum())} pairs compared" + (f", {left} without both sides left out" if left else "")
    return Sample(read.a / read.tokens[:, None], np.ones(len(kept)), member, np.array([1.0, -1.0])), read, (note,)
