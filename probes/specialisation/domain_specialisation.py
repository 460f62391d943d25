"""Which experts some domains use more than others: the spread of an expert's rate over the values of a label."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from probes.baselines import Beyond, baseline_note, residual
from probes.checked import checked
from probes.ranking import ExpertScores, assemble
from probes.reading import Read, Tokens, class_notes, describe, read_units, select, template_notes, used_rows
from probes.specialisation.domains import Statistic, bits, domains_of, rates_of, spread
from probes.statistics import (
    Adjust,
    Exchange,
    Permute,
    Tested,
    check_adjust,
    class_members,
    exchange,
    interval,
    permutation_test,
    relabelled,
)
from workbench.errors import WorkbenchError, listed
from workbench.resample import cluster_draws, effective_clusters

if TYPE_CHECKING:
    from workbench.store import Store

Measure = Literal["spread", "bits"]
FEW_TOKENS = 30
"""Below which a domain's rates are named as uncertain (ours)."""
_STATISTIC: dict[str, Statistic] = {"spread": spread, "bits": bits}


@checked
def domain_specialisation(
    store: "Store",
    *,
    measure: Measure = "spread",
    domains: str | None = None,
    beyond: Beyond = "nothing",
    tokens: Tokens | np.ndarray = "content",
    roles: str | list[str] | None = None,
    where: str | None = None,
    permute: Permute = "auto",
    cluster: str = "auto",
    n_permutations: int = 1000,
    n_bootstrap: int = 1000,
    adjust: Adjust = "max",
    seed: int = 0,
) -> ExpertScores:
    """How unevenly the values of a label (domains, languages, topics) use an expert.

        rate[d, e] = tokens of domain d that select e / tokens read of domain d      (d: a value of the label)
        spread[e]  = standard deviation over d of rate[d, e] / their mean            (population, all domains alike)
        bits[e]    = log2 D - H(share[., e]),  share[d, e] = rate[d, e] / sum over d of rate[d, e]

    measure  "spread", in [0, sqrt(D - 1)], or "bits" (D domains, H: entropy in bits), in [0, log2 D]: both 0 where all domains
             use it alike, and at their end where one domain alone does
    domains  the label, such as "language"; None: the only one with 2 to 12 values. `usage(store, measure="rate",
             where="language=German")` has the rates of one domain
    beyond   as in `ftri`; rates are then  (selections - what words give) / tokens + the expert's rate over all tokens read:
             what they would be with the average words. Not for "bits", since such a rate can fall below 0
    tokens, roles, where, permute, cluster, adjust  as in `ftri`; tokens by default of prompt and response, without the template

    Null for an expert never selected (flag "dead"). The flag "most in NAME=VALUE" names the domain with the largest rate,
    where it is one. n: tokens read of all domains at which it was selected.
    The p-value exchanges labels (`probes.statistics.exchange`); tested is the standard deviation of the rates, in share of
    tokens, one-sided: over its mean, a rare expert's chance spread would drown the maximum over experts. The interval resamples
    clusters; a spread is never below 0, so an interval does not reach 0 by chance alone: ask the p-value whether there is one.

    Paper: arXiv 2505.16056, repository ljcleo/moe-lrc at 7b3ca46: standard deviation over mean of an expert's activation rates
    over 11 domains. Ours: bits, any label, p-values, intervals, the flag.

    Not evidence that the expert knows the domain: domains differ in words, and routing follows words. The first note is
    the baseline: how well the token's id alone predicts selection in held-out prompts.
    Raises `WorkbenchError` for an unknown measure or label, where a choice of label is needed, and for fewer than two domains.
    Memory: 8 bytes a response and expert.
    """
    if measure not in get_args(Measure):
        raise WorkbenchError(f"measure='{measure}' is not known; it can be {', '.join(get_args(Measure))}.")
    if beyond not in get_args(Beyond) or (beyond != "nothing" and measure == "bits"):
        why = f"it can be {', '.join(get_args(Beyond))}, and with measure='bits' nothing alone"
        raise WorkbenchError(f"beyond='{beyond}' cannot be asked of measure='{measure}'; {why}.")
    check_adjust(adjust)
    chosen = domains_of(store, domains, where)
    used, rows = used_rows(store, chosen)
    mask = select(store, tokens, roles, used) & rows
    read, marks, left = residual(store, read_units(store, chosen, mask), mask, beyond)
    if beyond != "nothing":
        read = read._replace(a=read.a + read.tokens[:, None] * (read.selected / read.tokens.sum()))
    member = class_members(read.label, len(chosen.names))
    found = exchange(store, read.sequence, read.label, permute, cluster)
    rates = rates_of(member, read.tokens, read.a)
    low, high, lost = _interval(read, member, found.cluster, _STATISTIC[measure], n_bootstrap, seed)
    tested, why = _test(read, member, found, n_permutations, adjust, seed)
    columns = {"score": _STATISTIC[measure](rates), "n": read.selected, "low": low, "high": high, **tested._asdict()}
    options = {"measure": measure, "domains": chosen.names[0].partition("=")[0], "beyond": beyond}
    options |= {
        "tokens": describe(tokens, roles),
        "roles": roles,
        "where": where,
        "permute": found.permute,
        "cluster": cluster,
        "adjust": adjust,
    }
    options |= {"n_permutations": n_permutations, "n_bootstrap": n_bootstrap, "seed": seed}
    apart = template_notes(store, tokens, roles, rows)
    said = baseline_note(store, mask & store.routed_tokens, seed)
    apart = (*chosen.notes, *apart, *class_notes(chosen, read), *_few(chosen.names, member @ read.tokens))
    notes = (said, *apart, *found.notes, *lost, *why, *left)
    return assemble(
        store, "domain_specialisation", options, read.axis, columns, notes, marks | _most(chosen.names, rates)
    )


def _few(names: tuple[str, ...], tokens: np.ndarray) -> tuple[str, ...]:
    """A note on domains of so few tokens that their rates, and the intervals from them, are chance."""
    few = [f"{name} ({n:.0f} tokens)" for name, n in zip(names, tokens, strict=True) if n < FEW_TOKENS]
    return (f"rates and intervals say little of domains under {FEW_TOKENS} tokens: {listed(few)}",) if few else ()


def _most(names: tuple[str, ...], rates: np.ndarray) -> dict[str, np.ndarray]:
    """For each domain, which experts it selects more often than every other does."""
    second = np.sort(rates, axis=0)[-2]
    return {f"most in {name}": rate > second + 1e-12 for name, rate in zip(names, rates, strict=True)}


def _interval(
    read: Read, member: np.ndarray, cluster: np.ndarray, statistic: Statistic, n_draws: int, seed: int
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """95 % interval of every expert's score, and what to say of the resamples."""
    nothing = np.full(read.a.shape[1], np.nan)
    clusters = min(len(np.unique(cluster[row > 0])) for row in member)
    if n_draws < 1 or clusters < 2:
        why = "none was asked for" if n_draws < 1 else f"one domain has {clusters} cluster, and 2 are needed"
        return nothing, nothing, (f"no interval: {why}",)
    drawn = cluster_draws(cluster, n_draws, np.random.default_rng([seed, 1]))
    kept = drawn[(drawn @ (member * read.tokens).T > 0).all(axis=1)]

    def replicates(block: np.ndarray) -> np.ndarray:
        parts = (member[:, None] * some for some in _chunks(kept))
        return np.concatenate([statistic(rates_of(part, read.tokens, read.a[:, block])) for part in parts])

    effective = min(effective_clusters(row * read.tokens, cluster) for row in member)
    lost = n_draws - len(kept)
    said = (f"{lost} of {n_draws} resamples left a domain empty and were not used",) if lost else ()
    return *interval(replicates, len(nothing), len(kept), effective), said


def _test(
    read: Read, member: np.ndarray, found: Exchange, n_draws: int, adjust: Adjust, seed: int
) -> tuple[Tested, tuple[str, ...]]:
    """How often labels that change places give rates that differ as much; NaN for experts without a score, or with the reason."""
    nothing = np.full(read.a.shape[1], np.nan)
    if n_draws < 1 or found.relabellings < 1.5:
        why = "none was asked for" if n_draws < 1 else "no two units that may exchange labels differ in class"
        return Tested(nothing, nothing), (f"no p-value: {why}",)
    moved = relabelled(found, n_draws, seed)

    def null(block: np.ndarray) -> np.ndarray:
        parts = (member[:, some] for some in _chunks(moved))
        return np.concatenate([rates_of(part, read.tokens, read.a[:, block]).std(axis=0) for part in parts])

    observed = np.where(read.selected > 0, rates_of(member, read.tokens, read.a).std(axis=0), np.nan)
    return permutation_test(observed, np.zeros(len(observed)), null, n_draws, adjust), ()


def _chunks(draws: np.ndarray) -> Iterator[np.ndarray]:
    """A hundred at a time: domains x draws x responses are held."""
    yield from np.array_split(draws, -(-len(draws) // 100)) if len(draws) else (draws,)
