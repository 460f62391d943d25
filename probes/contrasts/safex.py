"""Which experts a class of prompts uses stably, and another class does not: SAFEx's selection."""

from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from probes.checked import checked
from probes.ranking import ExpertScores, assemble
from probes.reading import Read, Tokens, class_notes, classes, describe, read_units, select, template_notes, used_rows
from probes.renamed import renamed
from probes.statistics import interval, resampled
from workbench.errors import WorkbenchError
from workbench.resample import cluster_draws, effective_clusters
from workbench.responses import Classifier

if TYPE_CHECKING:
    from workbench.store import Store

Group = Literal["control", "detection", "stable"]


@renamed(regular="target", jailbreak="baseline")
@checked
def safex(
    store: "Store",
    target: str,
    baseline: str | None = None,
    *,
    group: Group = "control",
    alpha: float = 0.05,
    n_resamples: int = 100,
    share: float = 1.0,
    tokens: Tokens | np.ndarray = "prompt_content",
    roles: str | list[str] | None = None,
    classifier: Classifier | None = None,
    where: str | None = None,
    cluster: str = "auto",
    seed: int = 0,
) -> ExpertScores:
    """The experts among the most used of one class in every resample of its prompts, and not of the other class.

        p[e]     = tokens that selected e / tokens read, pooled over a class (layers compete in one list)
        first(X) = the floor(alpha x experts) experts of largest p in a resample X of the class's prompts
        top      = the intersection of first(X) over the resamples
        detection = top(target) and top(baseline);  control = top(target) without top(baseline)

    target, baseline  labels, as in `ftri`; in the paper regular harmful prompts, and jailbreaks
    group             which experts score: "control" (the paper turns these off), "detection", or "stable", which is
                      top(target) whatever the other class does
    share             the share of the resamples that an expert must be among the first of; 1 is the intersection
    cluster           what a resample draws with replacement: whole clusters, as in `probes.statistics.exchange`
    the rest          as in `ftri`

    The score is p of the target class for an expert of the group and 0 for any other, so `top` never returns one that is
    not in it. Range [0, 1], unit: share of tokens. low and high: the 95 % interval of p over the same resamples, null outside
    the group. n: tokens of both classes at which it was selected. Equal p within `first` goes by layer and number.

    Paper: arXiv 2506.17368 (SAFEx), formulas read in the paper. Not stated in what we could read, so ours: alpha, how many
    resamples, that they are drawn with replacement and of full size, and whether every resample is asked (`share`).

    Not evidence that an expert decides: whatever is used by every prompt is stable. No p-value: being in an intersection
    has no null of labels here.
    Raises `WorkbenchError` for unknown names, an empty class, and an alpha that leaves no expert.
    """
    _check(group, n_resamples, share)
    chosen = classes(store, target, baseline, classifier=classifier, where=where)
    used, rows = used_rows(store, chosen)
    read = read_units(store, chosen, select(store, tokens, roles, used))
    n_first = int(alpha * len(read.axis.layer))
    if not 1 <= n_first <= len(read.axis.layer):
        raise WorkbenchError(
            f"alpha={alpha} of {len(read.axis.layer)} experts is {n_first}; choose an alpha that leaves 1 or more, up to 1."
        )
    clusters = resampled(store, read.sequence, cluster)
    rates = [_resampled_rates(read, c, clusters.of_unit, n_resamples, seed) for c in range(2)]
    top = [_first(one, n_first).mean(axis=0) >= share for one in rates]
    member = {"control": top[0] & ~top[1], "detection": top[0] & top[1], "stable": top[0]}[group]
    rate = _rate(read, 0, np.ones((1, len(read.a))))[0]
    n_effective = effective_clusters(read.tokens * (read.label == 0), clusters.of_unit)
    low, high = interval(lambda block: rates[0][:, block], len(rate), n_resamples, n_effective)
    columns = {"score": np.where(member, rate, 0.0), "n": read.selected}
    columns |= {"low": np.where(member, low, np.nan), "high": np.where(member, high, np.nan)}
    options = {"target": chosen.names[0], "baseline": baseline, "group": group, "alpha": alpha, "share": share}
    options |= {"n_resamples": n_resamples, "tokens": describe(tokens, roles), "roles": roles, "where": where}
    options |= {"cluster": cluster, "seed": seed}
    sizes = f"{int(top[0].sum())} and {int(top[1].sum())} of the first {n_first} experts are stable for {chosen.names[0]} and "
    sizes += f"{chosen.names[1]}; {int(member.sum())} are in the group '{group}'"
    why = "no p-value: being in an intersection has no null of labels here"
    apart = template_notes(store, tokens, roles, rows)
    notes = (*chosen.notes, *apart, *class_notes(chosen, read), clusters.note, sizes, why)
    return assemble(store, "safex", options, read.axis, columns, notes)


def _resampled_rates(read: Read, c: int, cluster: np.ndarray, n: int, seed: int) -> np.ndarray:
    """[resamples, experts]: p of class `c` in resamples of the class's own clusters."""
    mine = read.label == c
    drawn = np.zeros((n, len(mine)))
    own = np.unique(cluster[mine], return_inverse=True)[1]
    drawn[:, mine] = cluster_draws(own, n, np.random.default_rng([seed, c]))
    return _rate(read, c, drawn)


def _rate(read: Read, c: int, drawn: np.ndarray) -> np.ndarray:
    """[draws, experts]: share of the tokens of class `c` that select each expert, units counted as often as drawn."""
    times = drawn * (read.label == c)
    return times @ read.a / (times @ read.tokens)[:, None]


def _first(rates: np.ndarray, n: int) -> np.ndarray:
    """Bool [resamples, experts]: the `n` largest of each row; the earlier expert where they are equal."""
    order = np.argsort(-np.round(rates, 12), axis=1, kind="stable")
    first = np.zeros(rates.shape, bool)
    np.put_along_axis(first, order[:, :n], True, axis=1)
    return first


def _check(group: str, n_resamples: int, share: float) -> None:
    if group not in get_args(Group):
        raise WorkbenchError(f"group='{group}' is not known; it can be {', '.join(get_args(Group))}.")
    if n_resamples < 1 or not 0 < share <= 1:
        raise WorkbenchError(
            f"n_resamples={n_resamples} and share={share} select nothing; give 1 or more resamples, and a share above 0 up to 1."
        )
