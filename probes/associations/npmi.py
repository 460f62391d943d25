"""Which experts go with a token: normalised pointwise mutual information, with RICE's signed markers."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, get_args

import numpy as np

from probes.baselines import Beyond, baseline_note, explained, followed, rates_of_rows, said_of, unit_of_row
from probes.checked import checked
from probes.ranking import ExpertScores, assemble
from probes.reading import (
    Counted,
    Marker,
    Places,
    Tokens,
    asked_of_template,
    count_occurrences,
    describe,
    places_of,
    prompt_of_row,
    select,
    template_notes,
    used_prompts,
)
from probes.renamed import renamed
from probes.statistics import Adjust, Given, association_test, check_adjust, interval, resampled
from workbench.errors import WorkbenchError
from workbench.resample import cluster_draws, effective_clusters

if TYPE_CHECKING:
    from workbench.store import Store

THINKING: dict[Marker, float] = {"<think>": 1, "</think>": -1}
"""RICE's markers that every note agrees on; one adds "Alternatively": -1."""


_NONE = 1e-12  # a sum of rates that is rounding alone


@renamed(label="target")
@checked
def npmi(
    store: "Store",
    markers: Mapping[Marker, float] | None = None,
    *,
    token: Marker | None = None,
    role: str | None = None,
    target: str | None = None,
    beyond: Beyond = "nothing",
    tokens: Tokens | np.ndarray = "content",
    where: str | None = None,
    cluster: str = "auto",
    n_permutations: int = 1000,
    n_bootstrap: int = 1000,
    adjust: Adjust = "max",
    seed: int = 0,
) -> ExpertScores:
    """How much an expert's selection goes with a token: the signed sum over markers of nPMI(marker, expert).

        nPMI = (log2(k / M) + log2(T / K)) / log2(T / k)
        M: occurrences of the marker; T: tokens read; K: tokens that selected the expert; k: occurrences that did
        score = sum over markers of sign * nPMI

    markers   marker to sign; the default is RICE's {"<think>": +1, "</think>": -1}. A string or a token id; several tokens
              that spell a marker count once, at the last (`probes.reading.markers`). A marker of thoughts that a system or user
              message only mentions does not count; as `token` it does. Or one of:
    token     one marker with sign +1
    role      every token of this role ("think"), sign +1
    target    every token of the responses with this label ("topic=war", as in `ftri`), sign +1
    tokens    what T counts: by default what prompt and response say, without the chat template (the paper's choice is not
              known), and the thoughts or the role asked for, also where they are the template's own words
    beyond    "token", "bigram": the numerator becomes log2(k / k'), with k' what the words at the marker give by themselves,
              the sum of their rates (`probes.baselines.beyond`), in place of M K / T, what tokens at random would. 0 for an
              expert whose selection is a function of the word, also where k' = k = 0 (flag "follows the token alone").
              For role and target: a marker is a word itself, and nothing is left of it
    cluster   what the interval resamples; see `probes.statistics.exchange`

    Range [-1, 1] for one marker, in no unit (bits over bits); 1: selected at the marker and nowhere else; 0: no association;
    -1: never selected at the marker. Null for an expert never selected (0 / 0; flag "dead"). n = K.

    p-values: for markers and roles all markers of a sequence shift together around its positions; for a target, labels
    exchange (`probes.statistics.exchange`). The tested statistic is sum of sign * (k / M - K / T), the same association on
    a straight scale: nPMI drops to -1 wherever a rare expert misses the marker, which would drown the maximum over experts.

    Paper: arXiv 2505.14681 (RICE); its formula, markers and the single list over all layers from three concordant notes, not
    from its text. Ours: k = 0 gives -1 (the limit), k = T gives 0, markers of several tokens, roles, labels, intervals,
    p-values, `beyond`. The last note of its own is the baseline: how well words alone predict selection in held-out prompts.

    Not evidence about thinking: routing follows the token's identity, so almost every fixed token has experts that go with
    it. RICE scales the first two and measures; do that.
    Raises `WorkbenchError` when a marker does not occur, and for unknown names.
    """
    check_adjust(adjust)
    question = _question(markers, token, role, target)
    _check(question, beyond)
    used = used_prompts(store, where)
    inside = used[prompt_of_row(store)] & store.routed_tokens
    read = (select(store, tokens, None, used) | asked_of_template(store, tokens, question)) & inside
    places = places_of(store, question, read, where)
    counted = count_occurrences(store, read, places)
    given, marks, left = _given(store, beyond, read, places, counted)
    at = None if given is None else given.at.sum(1)
    score = _score(counted.k.sum(1), counted.m.sum(1), counted.total.sum(0), counted.t.sum(), places.sign, at)
    clusters = resampled(store, counted.sequence, cluster)
    low, high, lost = resampled_interval(counted, places.sign, clusters.of_unit, n_bootstrap, seed, given)
    tested, why = association_test(store, read, places, counted, score, where, n_permutations, adjust, seed, given)
    options = {**question, "beyond": beyond, "tokens": describe(tokens), "where": where, "cluster": cluster}
    options |= {"adjust": adjust, "n_permutations": n_permutations, "n_bootstrap": n_bootstrap, "seed": seed}
    columns = {"score": score, "n": counted.total.sum(0).astype(np.int64), "low": low, "high": high, **tested._asdict()}
    apart = template_notes(store, tokens, None, inside, read)
    told = baseline_note(store, read, seed)
    notes = (*_said(places, counted), *apart, clusters.note, *lost, *why, *left, told)
    return assemble(store, "npmi", options, counted.axis, columns, notes, marks)


def _question(
    markers: Mapping[Marker, float] | None, token: Marker | None, role: str | None, target: str | None
) -> dict[str, object]:
    given = {"markers": markers, "token": token, "role": role, "target": target}
    chosen = {name: value for name, value in given.items() if value is not None} or {"markers": THINKING}
    if len(chosen) > 1:
        raise WorkbenchError(f"npmi was given {' and '.join(chosen)}; ask for one of markers, token, role, target.")
    if "markers" in chosen and not markers and markers is not None:
        raise WorkbenchError("npmi was given no marker; name one with its sign, like {'<think>': +1}.")
    return {name: dict(value) if isinstance(value, Mapping) else value for name, value in chosen.items()}


def _check(question: dict[str, object], beyond: Beyond) -> None:
    if beyond not in get_args(Beyond):
        raise WorkbenchError(f"beyond='{beyond}' is not known; it can be {', '.join(get_args(Beyond))}.")
    if beyond != "nothing" and not {"role", "target"} & {*question}:
        raise WorkbenchError(
            f"npmi was asked for {' and '.join(question)} beyond the {beyond}: a marker is itself a word, and nothing of it is "
            f"left; ask for a role or a target."
        )


def _given(
    store: "Store", beyond: Beyond, read: np.ndarray, places: Places, counted: Counted
) -> tuple[Given | None, dict[str, np.ndarray], tuple[str, ...]]:
    """What words give at the marker and at all tokens read, flags, and what to say."""
    if beyond == "nothing":
        return None, {}, ()
    unit, n = unit_of_row(store, counted.sequence), len(counted.sequence)
    whole = explained(store, beyond, read, read, unit, n)
    at = np.stack([explained(store, beyond, read, read & here, unit, n).expected for here in places.at])
    side = np.asarray(places.at.any(axis=0)).astype(np.int64)
    said = said_of(store, beyond, read, side, whole)
    given = Given(at, whole.expected, lambda layer: rates_of_rows(store, beyond, read, layer))
    return given, {followed(beyond): whole.follows}, said


def _score(
    k: np.ndarray, m: np.ndarray, total: np.ndarray, t: np.ndarray, sign: np.ndarray, given: np.ndarray | None = None
) -> np.ndarray:
    """[..., experts] from k [markers, ..., experts], m [markers, ...], total [..., experts], t [...]; null where total is 0.

    given: like k, what words give by themselves; None: m total / t.
    """
    t = np.asarray(t, np.float64)[..., None]
    with np.errstate(divide="ignore", invalid="ignore"):
        above = np.log2(k / m[..., None]) + np.log2(t / total) if given is None else np.log2(k / given)
        score = above / np.log2(t / k)
    never = -1.0 if given is None else np.where(given > _NONE, -1.0, 0.0)
    score = np.where(k == 0, never, np.where(k == t, 0.0, score))
    return np.where(total == 0, np.nan, np.tensordot(sign, score, axes=1))


def resampled_interval(
    counted: Counted, sign: np.ndarray, cluster: np.ndarray, n_draws: int, seed: int, given: Given | None = None
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """95 % interval of every expert's score, and what to say of the resamples; sign: [markers], cluster: [units]."""
    n_experts = counted.total.shape[1]
    with_marker = min(len(np.unique(cluster[row > 0])) for row in counted.m)
    if n_draws < 1 or with_marker < 2:
        why = "none was asked for" if n_draws < 1 else f"a marker is in {with_marker} cluster, and 2 are needed"
        return np.full(n_experts, np.nan), np.full(n_experts, np.nan), (f"no interval: {why}",)
    drawn = cluster_draws(cluster, n_draws, np.random.default_rng([seed, 1]))
    drawn = drawn[(drawn @ counted.m.T > 0).all(axis=1)]
    m, t = (drawn @ counted.m.T).T, drawn @ counted.t

    def replicates(block: np.ndarray) -> np.ndarray:
        k = np.stack([drawn @ one[:, block] for one in counted.k])
        at = None if given is None else np.stack([drawn @ one[:, block] for one in given.at])
        return _score(k, m, drawn @ counted.total[:, block], t, sign, at)

    n_effective = min(effective_clusters(row.astype(np.float64), cluster) for row in counted.m)
    low, high = interval(replicates, n_experts, len(drawn), n_effective)
    lost = n_draws - len(drawn)
    return low, high, (f"{lost} of {n_draws} resamples held no marker and were not used",) if lost else ()


def _said(places: Places, counted: Counted) -> tuple[str, ...]:
    met = [
        f"{name}: {int(m.sum())} occurrences in {int((m > 0).sum())} responses"
        for name, m in zip(places.names, counted.m, strict=True)
    ]
    return (*met, f"{int(counted.t.sum())} tokens of {len(counted.t)} responses read")
