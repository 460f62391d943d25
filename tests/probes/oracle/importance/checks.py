"""What every probe of importance must equal, as functions of the package under test."""

from types import ModuleType
from typing import Any

from tests.probes.oracle.cases import Case
from tests.probes.oracle.checks import agree
from tests.probes.oracle.importance import brute
from tests.probes.oracle.importance.cases import enriched, with_weights

Member = tuple[bool, int, int]


def saliency_equals_brute(probes: ModuleType, case: Case, tokens: str, member: Member) -> None:
    expected = brute.saliency(case.rows, case.experts, tokens, *member)
    frequency, gate, power = member
    how = {"frequency": frequency, "gate": float(gate), "power": float(power)}
    agree(lambda: probes.saliency(case.store, tokens=tokens, n_bootstrap=0, **how), expected)


def esft_equals_brute(probes: ModuleType, case: Case, tokens: str, measure: str, p: float) -> None:
    expected = brute.esft(case.rows, case.experts, tokens, measure, p)
    if expected is None:
        agree(lambda: probes.esft(case.store, tokens=tokens, n_bootstrap=0), None)
        return
    same_sets(probes.esft(case.store, tokens=tokens, measure=measure, p=p, n_bootstrap=0), expected)


def same_sets(found: Any, expected: list[tuple[int, int, float, int]]) -> None:
    """The members of every set in order, each with its score and n."""
    rows = [tuple(row) for row in found.frame[["set", "layer", "expert", "n"]].itertuples(index=False)]
    assert rows == [(f"layer {layer}", layer, e, n) for layer, e, _, n in expected]
    for got, (*where, score, _) in zip(found.frame["score"], expected, strict=True):
        assert abs(got - score) < 1e-6, f"{where}: {got}, not {score}"


def easy_ep_equals_brute(probes: ModuleType, case: Case, tokens: str, domains: str | None) -> None:
    expected = brute.easy_ep(case.rows, case.experts, tokens, domains)
    agree(lambda: probes.easy_ep(case.full_store, tokens=tokens, domains=domains, n_bootstrap=0), expected)


def shape_equals_brute(probes: ModuleType, case: Case, tokens: str) -> None:
    agree(lambda: probes.shape(case.store, tokens=tokens), brute.shape(case.rows, case.experts, tokens))


def unlearning_affinity_equals_brute(probes: ModuleType, case: Case, tokens: str) -> None:
    expected = brute.unlearning_affinity(case.rows, case.experts, tokens)
    agree(lambda: probes.unlearning_affinity(case.store, tokens=tokens, n_bootstrap=0), expected)


def tcess_equals_brute(probes: ModuleType, case: Case, tokens: str, first: int, threshold: float) -> None:
    expected = brute.tcess(case.rows, case.experts, tokens, first, threshold)
    agree(lambda: probes.tcess(case.store, tokens=tokens, first=first, threshold=threshold), expected)


def aimer_equals_brute(probes: ModuleType, case: Case) -> None:
    case = with_weights(case)
    agree(lambda: probes.aimer(case.store), brute.aimer(case.rows))


def min_norm_equals_brute(probes: ModuleType, case: Case, tokens: str, of: str, per: str) -> None:
    case = with_weights(case)
    expected = brute.min_norm(case.rows, case.experts, tokens, of, per)
    agree(lambda: probes.min_norm(case.store, of=of, per=per, tokens=tokens, n_bootstrap=0), expected)


CHECKS = {
    "aimer": lambda probes, case: aimer_equals_brute(probes, case),
    "min_norm": lambda probes, case: min_norm_equals_brute(probes, enriched(case), "all", "outputs", "token"),
    "saliency": lambda probes, case: saliency_equals_brute(probes, enriched(case), "all", (False, 1, 1)),
    "esft": lambda probes, case: esft_equals_brute(probes, enriched(case), "all", "ratio", 0.4),
    "easy_ep": lambda probes, case: easy_ep_equals_brute(probes, enriched(case), "all", None),
    "shape": lambda probes, case: shape_equals_brute(probes, enriched(case), "all"),
    "unlearning_affinity": lambda probes, case: unlearning_affinity_equals_brute(probes, enriched(case), "all"),
    "tcess": lambda probes, case: tcess_equals_brute(probes, enriched(case), "all", 1, -1.0),
}
"""Each in its default variant, for planted mistakes."""
