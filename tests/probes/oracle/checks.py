"""What every method must equal, as functions of the package under test, so that planted mutants meet the same checks."""

from types import ModuleType
from typing import Any

import numpy as np

from tests.probes.oracle import brute
from tests.probes.oracle.cases import MARKERS, Case

QUICK = {"n_permutations": 0, "n_bootstrap": 0}


def scores(found: Any) -> dict[tuple[Any, ...], tuple[float | None, int]]:
    """{(layer, expert): (score or None, n)}; of a shared expert (layer, expert, True)."""
    frame = found.frame
    names = zip(frame["layer"].tolist(), frame["expert"].tolist(), frame["is_shared"].tolist(), strict=True)
    keys = [(layer, expert, True) if is_shared else (layer, expert) for layer, expert, is_shared in names]
    values = (None if x != x else x for x in frame["score"].tolist())
    return dict(zip(keys, zip(values, frame["n"].tolist(), strict=True), strict=True))


def assert_same(found: Any, expected: dict[Any, tuple[float | None, int]]) -> None:
    got, expected = scores(found), {key[: 2 + (len(key) > 2 and key[2])]: value for key, value in expected.items()}
    assert set(got) == set(expected)
    for expert, (score, n) in expected.items():
        assert got[expert][1] == n, f"{expert}: n {got[expert][1]}, not {n}"
        if score is None or got[expert][0] is None:
            assert got[expert][0] is score, f"{expert}: {got[expert][0]}, not {score}"
        else:
            assert abs(got[expert][0] - score) < 1e-6, f"{expert}: {got[expert][0]}, not {score}"


def _try(make: Any) -> Any:
    """The scores, or the error that the package raises for what cannot be asked."""
    from workbench.errors import WorkbenchError

    try:
        return make()
    except WorkbenchError as error:
        return error


def agree(make: Any, expected: Any) -> None:
    """The scores that `make` gives are the expected ones; where there are none (None), it raises what a user is told."""
    found = _try(make)
    if expected is None:
        assert isinstance(found, ValueError), "the question cannot be asked, and no error was raised"
        return
    if isinstance(found, Exception):
        raise found
    assert_same(found, expected)


def ftri_equals_brute(probes: ModuleType, case: Case, tokens: str, reduce: str, contrast: str) -> None:
    values = sorted({x["value"] for x in case.rows["labels"]} & {"answered", "other"})
    expected = brute.ftri(case.rows, case.experts, "verdict", ["refused", *values], tokens, reduce, contrast)
    agree(
        lambda: probes.ftri(case.store, "verdict=refused", tokens=tokens, reduce=reduce, contrast=contrast, **QUICK),
        expected,
    )


def contrast_equals_brute(probes: ModuleType, case: Case, tokens: str, pooling: str) -> None:
    expected = brute.contrast(case.rows, case.experts, "verdict", ["refused", "answered"], tokens, pooling)
    agree(
        lambda: probes.contrast(
            case.store, "verdict=refused", "verdict=answered", tokens=tokens, pooling=pooling, **QUICK
        ),
        expected,
    )


def npmi_equals_brute(probes: ModuleType, case: Case, tokens: str, markers: dict[str, int] | None = None) -> None:
    markers = markers or MARKERS
    expected = brute.npmi(case.rows, case.experts, markers, tokens)
    agree(lambda: probes.npmi(case.store, markers, tokens=tokens, **QUICK), expected)


def usage_equals_brute(probes: ModuleType, case: Case, tokens: str, measure: str) -> None:
    expected = brute.usage(case.rows, case.experts, measure, tokens)
    agree(lambda: probes.usage(case.store, tokens=tokens, measure=measure, n_bootstrap=0), expected)


def safex_equals_brute(probes: ModuleType, case: Case, tokens: str, group: str, alpha: float) -> None:
    """The resamples are drawn here by the documented seeds, whole pairs at a time; what is done with them is brute force."""
    values = ("refused", "answered")
    draws = [_resamples(case, tokens, values, c) for c in (0, 1)]
    expected = brute.safex(case.rows, case.experts, "verdict", values, tokens, group, alpha, draws)
    agree(
        lambda: probes.safex(
            case.store, "verdict=refused", "verdict=answered", tokens=tokens, group=group, alpha=alpha, n_resamples=20
        ),
        expected,
    )


def _resamples(case: Case, tokens: str, values: tuple[str, str], c: int) -> list[list[int]]:
    found = brute.class_rates(case.rows, case.experts, "verdict", values, tokens, "rate")
    pair = {p["prompt_id"]: f"1 {p['pair']}" if p["pair"] else f"2 {p['prompt_id']}" for p in case.rows["prompts"]}
    keys = [pair[s[0]] for s, _, _ in found[values[c]]]
    order = sorted(set(keys))
    if not order:
        return []
    rng = np.random.default_rng([0, c])
    drawn = rng.multinomial(len(order), np.full(len(order), 1 / len(order)), size=20)
    return [[int(row[order.index(key)]) for key in keys] for row in drawn]


def super_experts_equals_brute(probes: ModuleType, case: Case, rule: str, guard: bool) -> None:
    layers = case.anatomy.layers
    expected, flagged = brute.super_experts(case.rows, case.experts, layers[-1].n_shared, len(layers), rule, guard)
    found = probes.super_experts(case.full_store, rule, guard=guard)
    assert_same(found, expected)
    assert {(r.layer, r.expert, r.is_shared) for r in found.flagged("super expert")} == flagged
