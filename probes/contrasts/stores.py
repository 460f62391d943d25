"""Which experts moved between two stores: before and after tuning, or from one set of prompts to another."""

from pathlib import Path
from typing import Literal, get_args

import numpy as np

from probes.checked import checked
from probes.contrasts.comparable import check_comparable, model_note
from probes.contrasts.means import Selected, change_of_means, sample_of
from probes.ranking import ExpertScores, assemble, steering_note
from probes.reading import (
    Tokens,
    describe,
    prompt_of_row,
    routed_units,
    slot_sums,
    template_notes,
    used_prompts,
)
from probes.statistics import (
    Adjust,
    Side,
    check_adjust,
    difference,
    exchange_stores,
)
from workbench.errors import WorkbenchError
from workbench.store import Store, open_store

What = Literal["use", "weight", "output"]
_COLUMN = {"use": (), "weight": ("weight",), "output": ("output_l2",)}


@checked
def drift(
    store: Store,
    other: Store | str | Path,
    *,
    what: What = "use",
    tokens: Tokens = "prompt_content",
    roles: str | list[str] | None = None,
    where: str | None = None,
    cluster: str = "auto",
    n_permutations: int = 1000,
    n_bootstrap: int = 1000,
    adjust: Adjust = "max",
    seed: int = 0,
) -> ExpertScores:
    """How much more an expert is used, is given, or writes, in the other store than in this one.

        use     u'[e] - u[e]         u: tokens that selected e / tokens read; u' the same in the other store
        weight  w'[e] - w[e]         w: mean routing weight that e received over the tokens that selected it
        output  (y'[e] - y[e]) / y[e]   y: mean L2 norm of e's own output, before the weight, over those tokens

    other     the store compared with, or its path. Positive: more there. Give the store from before tuning first
    tokens, roles, where, cluster  as in `ftri`, read in both stores; by default what the prompts say, which tuning leaves alone
              (answers of a tuned model are other texts)

    Range [-1, 1] for use, the model's own weights for weight, [-1, inf) for output: -1/2 is half as large, 1 twice. Use is 0
    for an expert that neither selects (flag "dead"); weight and output are null where one of the stores never selects it (or
    all its outputs before are zero). n: tokens read of both that selected it with a finite value. The interval resamples
    clusters of prompts, those of both stores together where they hold the same prompts, so that a store against itself has
    [0, 0]. p-values, of use alone: prompts exchange their two stores (`probes.statistics.exchange_stores`); a mean over
    other tokens has no such null.

    Refused where family, sizes, captured layers, top-k or a layer's routing rule differ: then numbers do not name one expert.

    Ours altogether: no paper's formula was followed. Use is SteerMoE's risk difference with stores as the classes.

    Not evidence of what tuning did to an expert's function: an output that turned and kept its size has not moved here, and an
    expert can be used more because others are used less. Nor that the drift matters: compare measures that. Memory: 16 bytes a
    response and expert.
    Raises `WorkbenchError` for stores that cannot be compared, and where norms or weights are asked for that one does not have.
    """
    if what not in get_args(What):
        raise WorkbenchError(f"what='{what}' is not known; it can be {', '.join(get_args(What))}.")
    check_adjust(adjust)
    other = other if isinstance(other, Store) else open_store(other)
    check_comparable(store, other)
    reads = (_read(store, what, tokens, roles, where), _read(other, what, tokens, roles, where))
    found = exchange_stores((reads[0].side, reads[1].side), cluster)
    if what == "use":
        estimate = difference(sample_of(reads), found, n_permutations, n_bootstrap, seed, adjust)
    else:
        estimate = change_of_means(reads, found.cluster, what == "output", n_bootstrap, seed)
    options = {
        "other": str(other.path),
        "what": what,
        "tokens": describe(tokens, roles),
        "roles": roles,
        "where": where,
    }
    options |= {"cluster": cluster, "adjust": adjust}
    options |= {"n_permutations": n_permutations, "n_bootstrap": n_bootstrap, "seed": seed}
    columns = {**estimate._asdict(), "n": reads[0].n.sum(axis=0) + reads[1].n.sum(axis=0)}
    del columns["notes"]
    notes = [f"in the other store: {note}" for note in (*steering_note(other), *reads[1].notes)]
    notes = (model_note(store, other), *reads[0].notes, *notes, *found.notes, *estimate.notes)
    return assemble(store, "drift", options, reads[0].axis, columns, notes)


def _read(store: Store, what: What, tokens: Tokens, roles: str | list[str] | None, where: str | None) -> Selected:
    group, sequence = routed_units(store, tokens, roles, where, weighted=what == "weight")
    found = slot_sums(store, group, _COLUMN[what], lambda _, slots: slots.weight * slots.norm)
    length = np.bincount(group[group >= 0]).astype(np.float64)
    said = f"{int(length.sum())} tokens of {len(sequence)} responses read"
    apart = template_notes(store, tokens, roles, used_prompts(store, where)[prompt_of_row(store)])
    return Selected(Side(store, sequence), found.total, found.n, length, found.axis, (said, *apart))
