"""The experts that carry routing whatever the domain: COMMITTEEAUDIT's standing committee."""

from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import pandas as pd

from probes.baselines import baseline_note
from probes.checked import checked
from probes.ranking import SetTable
from probes.reading import Read, Tokens, class_notes, describe, read_units, select, template_notes, used_rows
from probes.specialisation.covering import Cover, fewest, smallest_cover
from probes.specialisation.domains import domains_of
from probes.statistics import class_members, interval, resampled
from workbench.errors import WorkbenchError
from workbench.resample import cluster_draws, effective_clusters

if TYPE_CHECKING:
    from workbench.store import Store

Measure = Literal["weight", "ratio"]


@checked
def committee(
    store: "Store",
    *,
    measure: Measure = "weight",
    p: float = 0.5,
    domains: str | None = None,
    tokens: Tokens | np.ndarray = "content",
    roles: str | list[str] | None = None,
    where: str | None = None,
    cluster: str = "auto",
    n_bootstrap: int = 1000,
    seconds: float = 10.0,
    seed: int = 0,
) -> SetTable:
    """In every layer the smallest set of experts that carries a share `p` of the routing in every domain.

        share[d, e] = weights that e received in tokens of domain d / weights of all experts of its layer there
        committee   = the smallest C with  sum over e in C of share[d, e] >= p  for every domain d

    measure  "weight", the routing mass, or "ratio", selections in place of weights
    p        in (0, 1]; one half: the committee carries most of the routing, whatever is read
    domains  the label whose values are the domains, as in `domain_specialisation`
    seconds  at most, for the program of a layer
    tokens, roles, where, cluster  as in `ftri`; tokens by default of prompt and response, without the template

    A row a member: set ("layer 3"), layer, expert, share (mean over domains), least (in the domain that uses it least), carried
    (what the whole set carries in the domain where it carries least) with low and high, n (tokens read that selected it), and
    its share in each domain. Range [0, 1]. Of several smallest sets one that no exchange of a member gives a larger mean share;
    the notes say how many experts each domain needs by itself, and where the program did not end in time. The interval is
    that of `carried` for this set over resampled clusters: the set was chosen to reach p on these prompts, so it lies high. No
    p-value: being in a set has no null.

    Paper: arXiv 2601.03425 (COMMITTEEAUDIT), its abstract alone: a compact set that captures most of the routing mass across
    domains, layers and budgets. Its thresholds were not read. Ours: p, "every domain", the exact smallest set (scipy's HiGHS),
    its choice among equals, intervals.

    Not evidence that these experts are general: words that all domains share (commas, articles, the end of a line) are routed
    alike whatever is said; the first note says how well words alone predict routing. With one domain's prompts much alike, its
    share is that of a few texts.
    Raises `WorkbenchError` for p outside (0, 1], an unknown measure or label, weights where the store has none, without scipy.
    """
    if measure not in get_args(Measure):
        raise WorkbenchError(f"measure='{measure}' is not known; it can be {', '.join(get_args(Measure))}.")
    if not 0 < p <= 1 or seconds <= 0:
        raise WorkbenchError(f"p={p:g} should be more than 0 and at most 1, and seconds={seconds:g} more than 0.")
    chosen = domains_of(store, domains, where)
    used, rows = used_rows(store, chosen)
    mask = select(store, tokens, roles, used) & rows
    read = read_units(store, chosen, mask, weighted=measure == "weight")
    member = class_members(read.label, len(chosen.names))
    clusters = resampled(store, read.sequence, cluster)
    parts: list[pd.DataFrame] = []
    sizes: list[np.ndarray] = []
    late: list[int] = []
    for layer in store.layers:
        here = np.flatnonzero(read.axis.layer == layer)
        share = _shares(member, read.a[:, here])
        found = smallest_cover(share, p, seconds)
        sizes.append(fewest(share, p))
        late += [] if found.proven else [layer]
        low, high = _interval(read, member, clusters.of_unit, (here, found), n_bootstrap, seed)
        parts.append(_rows(layer, chosen.names, share, found, read.selected[here], (low, high)))
    options = {"measure": measure, "p": p, "domains": chosen.names[0].partition("=")[0]}
    options |= {"tokens": describe(tokens, roles), "roles": roles, "where": where, "cluster": cluster}
    options |= {"n_bootstrap": n_bootstrap, "seconds": seconds, "seed": seed}
    said = baseline_note(store, mask & store.routed_tokens, seed)
    notes = (said, *chosen.notes, *template_notes(store, tokens, roles, rows), *class_notes(chosen, read))
    notes = (*notes, *_said(chosen.names, parts, np.array(sizes), late, p), clusters.note)
    none = ("no interval: none was asked for",) if n_bootstrap < 1 else ()
    notes = (*notes, *none, "no p-value: being in a set has no null")
    return SetTable.of(store, "committee", options, pd.concat(parts, ignore_index=True), notes)


def _shares(member: np.ndarray, a: np.ndarray) -> np.ndarray:
    """[domains, experts] of a layer: what each has of its domain's total."""
    total = member @ a
    return total / total.sum(axis=1, keepdims=True)


def _rows(
    layer: int,
    names: tuple[str, ...],
    share: np.ndarray,
    found: Cover,
    selected: np.ndarray,
    ends: tuple[float, float],
) -> pd.DataFrame:
    """The members, the largest mean share first."""
    of = np.flatnonzero(found.members)
    of = of[np.argsort(-share.mean(axis=0)[of], kind="stable")]
    carried = float(share[:, of].sum(axis=1).min())
    made = {"set": f"layer {layer}", "layer": layer, "expert": of, "share": share.mean(axis=0)[of]}
    made |= {"least": share.min(axis=0)[of], "carried": carried, "low": ends[0], "high": ends[1], "n": selected[of]}
    return pd.DataFrame(made | {name: one[of] for name, one in zip(names, share, strict=True)})


def _interval(
    read: Read, member: np.ndarray, cluster: np.ndarray, of: tuple[np.ndarray, Cover], n_draws: int, seed: int
) -> tuple[float, float]:
    """95 % interval of what the set carries in the domain where it carries least."""
    if n_draws < 1 or min(len(np.unique(cluster[row > 0])) for row in member) < 2:
        return float("nan"), float("nan")
    here, found = of
    drawn = cluster_draws(cluster, n_draws, np.random.default_rng([seed, 1]))
    sums = np.stack([read.a[:, here[found.members]].sum(axis=1), read.a[:, here].sum(axis=1)], axis=1)
    totals = np.stack([(drawn * row) @ sums for row in member])  # [domains, draws, 2]
    with np.errstate(invalid="ignore"):
        carried = (totals[..., 0] / totals[..., 1]).min(axis=0)  # NaN where a resample lacks a domain
    effective = min(effective_clusters(row * read.tokens, cluster) for row in member)
    low, high = interval(lambda _: carried[:, None], 1, n_draws, effective)
    return float(low[0]), float(high[0])


def _said(
    names: tuple[str, ...], parts: list[pd.DataFrame], alone: np.ndarray, late: list[int], p: float
) -> tuple[str, ...]:
    sizes = [len(part) for part in parts]
    said = f"{min(sizes)} to {max(sizes)} experts a layer carry p = {p:g} in each of {len(names)} domains, {sum(sizes)} in all"
    each = ", ".join(f"{name} {n}" for name, n in zip(names, alone.sum(axis=0).tolist(), strict=True))
    unsure = f"layers {', '.join(map(str, late))}: the program did not end in time, and a smaller set may exist"
    return (said, f"each domain by itself needs: {each}", *([unsure] if late else []))
