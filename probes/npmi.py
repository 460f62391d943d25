"""Which experts go with a token: normalised pointwise mutual information, with RICE's signed markers."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from probes.adjust import Adjust, check_adjust
from probes.assemble import Axis, assemble, expert_axis
from probes.difference import Sample, class_members, relabelling_test
from probes.exchange import exchange, resampled
from probes.groups import classes, used_prompts
from probes.inference import Tested, interval, permutation_test
from probes.markers import Marker, find_marker
from probes.scores import ExpertScores
from probes.selection import Tokens, describe, prompt_of_row, select, sequence_of_row
from probes.shift import circles, shifted_sums
from workbench.counts import routed_tokens
from workbench.errors import WorkbenchError
from workbench.resample import cluster_draws

if TYPE_CHECKING:
    from workbench.store import Store

THINKING: dict[Marker, float] = {"<think>": 1, "</think>": -1}
"""RICE's markers that every note agrees on; one adds "Alternatively": -1."""


def npmi(
    store: "Store",
    markers: Mapping[Marker, float] | None = None,
    *,
    token: Marker | None = None,
    role: str | None = None,
    label: str | None = None,
    tokens: "Tokens | np.ndarray" = "all",
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
              that spell a marker count once, at the last (`probes.markers`). Or one of:
    token     one marker with sign +1
    role      every token of this role ("think"), sign +1
    label     every token of the responses with this label ("topic=war"), sign +1
    tokens    what T counts: by default prompt and response, every routed token (the paper's choice is not known)
    cluster   what the interval resamples; see `probes.exchange.exchange`

    Range [-1, 1] for one marker, in no unit (bits over bits); 1: selected at the marker and nowhere else; 0: no association;
    -1: never selected at the marker. Null for an expert never selected (0 / 0; flag "dead"). n = K.

    p-values: for markers and roles all markers of a sequence shift together around its positions; for a label, labels
    exchange (`probes.exchange`). The tested statistic is sum of sign * (k / M - K / T), the same association on a straight
    scale: nPMI drops to -1 wherever a rare expert misses the marker, which would drown the maximum over experts.

    Paper: arXiv 2505.14681 (RICE); its formula, markers and the single list over all layers from three concordant notes, not
    from its text. Ours: k = 0 gives -1 (the limit), k = T gives 0, markers of several tokens, roles, labels, intervals,
    p-values.

    Not evidence about thinking: routing follows the token's identity, so almost every fixed token has experts that go with
    it. RICE scales the first two and measures; do that.
    Raises `WorkbenchError` when a marker does not occur, and for unknown names.
    """
    check_adjust(adjust)
    question = _question(markers, token, role, label)
    used = used_prompts(store, where)
    read = select(store, tokens, None, used) & used[prompt_of_row(store)] & routed_tokens(store)
    places = _places(store, question, read, where)
    counted = _count(store, read, places)
    score = _score(counted.k.sum(1), counted.m.sum(1), counted.total.sum(0), counted.t.sum(), places.sign)
    clusters = resampled(store, counted.sequence, cluster)
    low, high, lost = _interval(counted, places.sign, clusters.of_unit, n_bootstrap, seed)
    tested, why = _test(store, read, places, counted, score, where, n_permutations, adjust, seed)
    options = {**question, "tokens": describe(tokens), "where": where, "cluster": cluster, "adjust": adjust}
    options |= {"n_permutations": n_permutations, "n_bootstrap": n_bootstrap, "seed": seed}
    columns = {"score": score, "n": counted.total.sum(0).astype(np.int64), "low": low, "high": high, **tested._asdict()}
    notes = (*_said(places, counted), clusters.note, *lost, *why)
    return assemble(store, "npmi", options, counted.axis, columns, notes)


class _Places(NamedTuple):
    names: tuple[str, ...]
    sign: np.ndarray  # [markers]
    at: np.ndarray  # bool [markers, rows of store.tokens]
    of_label: str | None  # the label, when tokens are chosen by one


class _Counted(NamedTuple):
    k: np.ndarray  # [markers, units, experts] occurrences that selected the expert
    m: np.ndarray  # [markers, units] occurrences
    total: np.ndarray  # [units, experts] tokens that selected the expert
    t: np.ndarray  # [units] tokens read
    sequence: np.ndarray  # [units]
    axis: Axis


def _question(
    markers: Mapping[Marker, float] | None, token: Marker | None, role: str | None, label: str | None
) -> dict[str, object]:
    given = {"markers": markers, "token": token, "role": role, "label": label}
    chosen = {name: value for name, value in given.items() if value is not None} or {"markers": THINKING}
    if len(chosen) > 1:
        raise WorkbenchError(f"npmi was given {' and '.join(chosen)}; ask for one of markers, token, role, label.")
    if "markers" in chosen and not markers and markers is not None:
        raise WorkbenchError("npmi was given no marker; name one with its sign, like {'<think>': +1}.")
    return {name: dict(value) if isinstance(value, Mapping) else value for name, value in chosen.items()}


def _places(store: "Store", question: dict[str, object], read: np.ndarray, where: str | None) -> _Places:
    (kind, value), *_ = question.items()
    if kind == "role":
        at = read & select(store, "all", str(value)) if read.any() else read
        return _Places((f"role {value}",), np.ones(1), _some(store, at, f"role {value}")[None], None)
    if kind == "label":
        chosen = classes(store, str(value), None, where=where)
        at = read & (chosen.of_sequence[sequence_of_row(store)] == 0)
        return _Places((str(value),), np.ones(1), _some(store, at, str(value))[None], str(value))
    signs: Mapping[Marker, float] = value if isinstance(value, Mapping) else {value: 1}  # pyright: ignore[reportAssignmentType]
    at = np.stack([find_marker(store, marker, read) for marker in signs])
    return _Places(tuple(map(str, signs)), np.array(list(signs.values()), float), at, None)


def _some(store: "Store", at: np.ndarray, what: str) -> np.ndarray:
    if not at.any():
        raise WorkbenchError(f"None of the tokens read of '{store.path}' has {what}; read other tokens.")
    return at


def _count(store: "Store", read: np.ndarray, places: _Places) -> _Counted:
    sequence, number = np.unique(sequence_of_row(store)[read], return_inverse=True)
    group = np.full(len(read), -1, np.int64)
    group[read] = number
    counted = store.counts(None, group)
    axis = expert_axis(store, counted.layers)
    n_units = len(sequence)
    k = [_padded(axis.of(store.counts(at, group).n), n_units) for at in places.at]
    m = [np.bincount(group[at & read], minlength=n_units) for at in places.at]
    return _Counted(np.stack(k), np.stack(m), axis.of(counted.n), counted.tokens, sequence, axis)


def _padded(counted: np.ndarray, n_units: int) -> np.ndarray:
    return np.concatenate([counted, np.zeros((n_units - len(counted), counted.shape[1]), counted.dtype)])


def _score(k: np.ndarray, m: np.ndarray, total: np.ndarray, t: np.ndarray, sign: np.ndarray) -> np.ndarray:
    """[..., experts] from k [markers, ..., experts], m [markers, ...], total [..., experts], t [...]; null where total is 0."""
    t = np.asarray(t, np.float64)[..., None]
    with np.errstate(divide="ignore", invalid="ignore"):
        score = (np.log2(k / m[..., None]) + np.log2(t / total)) / np.log2(t / k)
    score = np.where(k == 0, -1.0, np.where(k == t, 0.0, score))
    return np.where(total == 0, np.nan, np.tensordot(sign, score, axes=1))


def _interval(
    counted: _Counted, sign: np.ndarray, cluster: np.ndarray, n_draws: int, seed: int
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
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
        return _score(k, m, drawn @ counted.total[:, block], t, sign)

    low, high = interval(replicates, n_experts, len(drawn))
    lost = n_draws - len(drawn)
    return low, high, (f"{lost} of {n_draws} resamples held no marker and were not used",) if lost else ()


def _test(
    store: "Store",
    read: np.ndarray,
    places: _Places,
    counted: _Counted,
    score: np.ndarray,
    where: str | None,
    n_draws: int,
    adjust: Adjust,
    seed: int,
) -> tuple[Tested, tuple[str, ...]]:
    nothing = np.full(len(score), np.nan)
    if n_draws < 1:
        return Tested(nothing, nothing), ("no p-value: none was asked for",)
    if places.of_label is not None:
        return _label_test(store, counted, places.of_label, where, n_draws, adjust, seed)
    weight = places.sign / counted.m.sum(axis=1)
    value = weight @ (places.at & read)
    around = circles(sequence_of_row(store), read, value)
    null = shifted_sums(store, around, n_draws, np.random.default_rng([seed, 0]))
    observed = np.tensordot(weight, counted.k.sum(axis=1), axes=1)
    observed = np.where(np.isnan(score), np.nan, observed)
    longest = max(len(circle.rows) for circle in around)
    note = f"markers shifted around {len(around)} sequences of up to {longest} tokens"
    return permutation_test(
        observed, _mean_of_shifts(counted, value, around, store), lambda b: null[:, b], n_draws, adjust
    ), (note,)


def _mean_of_shifts(counted: _Counted, value: np.ndarray, around: list, store: "Store") -> np.ndarray:
    """[experts]: what a marker meets on average over all its shifts: the sequence's own rate of selection."""
    sequence = sequence_of_row(store)
    unit = np.searchsorted(counted.sequence, [sequence[circle.rows[0]] for circle in around])
    total = np.array([circle.value.sum() for circle in around])
    return (total / counted.t[unit]) @ counted.total[unit]


def _label_test(
    store: "Store", counted: _Counted, label: str, where: str | None, n_draws: int, adjust: Adjust, seed: int
) -> tuple[Tested, tuple[str, ...]]:
    """Tests k / M - (K - k) / (T - M), the same as k / M - K / T up to a factor, with labels exchanged between responses."""
    of_unit = classes(store, label, None, where=where).of_sequence[counted.sequence]
    kept = of_unit >= 0
    found = exchange(store, counted.sequence[kept], of_unit[kept])
    sample = Sample(
        counted.total[kept].astype(np.float64),
        counted.t[kept].astype(np.float64),
        class_members(of_unit[kept], 2),
        np.array([1.0, -1.0]),
    )
    tested, why = relabelling_test(sample, found, n_draws, seed, adjust)
    return tested, (found.notes[0], *why)


def _said(places: _Places, counted: _Counted) -> tuple[str, ...]:
    met = [
        f"{name}: {int(m.sum())} occurrences in {int((m > 0).sum())} responses"
        for name, m in zip(places.names, counted.m, strict=True)
    ]
    return (*met, f"{int(counted.t.sum())} tokens of {len(counted.t)} responses read")
