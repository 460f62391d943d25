"""Every method equals its hand-worked table and a brute-force computation over random stores."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import probes
from tests.probes.oracle import checks
from tests.probes.oracle.cases import Case, random_case
from tests.probes.oracle.specialisation import checks as specialisation_checks
from tests.probes.oracle.traffic import checks as traffic_checks
from tests.probes.oracle.whole import GOLDENS

CASES = st.builds(
    random_case,
    seed=st.integers(0, 2**32),
    n_prompts=st.integers(2, 7),
    top_k=st.integers(1, 3),
    n_shared=st.integers(0, 2),
    samples=st.sampled_from([1, 1, 3]),
)
TOKENS = st.sampled_from(["all", "prompt", "response", "last_prompt", "frame", "first_answer", "first_generated"])
SPANS = st.sampled_from(["all", "prompt", "response", "last_prompt"])


def thorough(test):
    """200 random stores: in the full tier. The hand-worked tables are in both."""
    return pytest.mark.slow(settings(max_examples=200, deadline=None)(test))


@pytest.mark.parametrize("method", sorted(GOLDENS))
def test_golden_table(method: str) -> None:
    GOLDENS[method](probes)


@thorough
@given(
    CASES,
    TOKENS,
    st.sampled_from(["rate", "weight", "count", "weight_sum"]),
    st.sampled_from(["pooled", "class_means"]),
)
def test_ftri_equals_brute_force(case: Case, tokens: str, reduce: str, contrast: str) -> None:
    checks.ftri_equals_brute(probes, case, tokens, reduce, contrast)


@thorough
@given(CASES, TOKENS, st.sampled_from(["tokens", "pairs"]))
def test_contrast_equals_brute_force(case: Case, tokens: str, pooling: str) -> None:
    checks.contrast_equals_brute(probes, case, tokens, pooling)


@thorough
@given(CASES, SPANS, st.sampled_from([None, {"what": 1, "it": -1}, {"so": 1, "<think>": 2}]))
def test_npmi_equals_brute_force(case: Case, tokens: str, markers: dict[str, int] | None) -> None:
    checks.npmi_equals_brute(probes, case, tokens, markers)


@thorough
@given(CASES, SPANS, st.sampled_from(["load", "rate", "weight"]))
def test_usage_equals_brute_force(case: Case, tokens: str, measure: str) -> None:
    checks.usage_equals_brute(probes, case, tokens, measure)


@thorough
@given(CASES, SPANS, st.sampled_from(["control", "detection", "stable"]), st.sampled_from([0.2, 0.4, 0.7]))
def test_safex_equals_brute_force(case: Case, tokens: str, group: str, alpha: float) -> None:
    checks.safex_equals_brute(probes, case, tokens, group, alpha)


RULES = [
    "tenth_of_max",
    "paper",
    "paper_all_layers",
    "repository",
    "repository_first_row",
    "mean_3_std",
    "fifty_times_mean",
]


@thorough
@given(CASES, st.sampled_from(RULES), st.booleans())
def test_super_experts_equals_brute_force(case: Case, rule: str, guard: bool) -> None:
    checks.super_experts_equals_brute(probes, case, rule, guard)


@thorough
@given(CASES, SPANS, st.sampled_from([(1, 2), (2, 3), (4,)]), st.sampled_from([1, 2, 3, 512]))
def test_locality_equals_brute_force(case: Case, tokens: str, windows: tuple[int, ...], longest: int) -> None:
    traffic_checks.locality_equals_brute(probes, case, tokens, windows, longest)


@thorough
@given(CASES, SPANS, st.integers(1, 4))
def test_token_specialisation_equals_brute_force(case: Case, tokens: str, least: int) -> None:
    specialisation_checks.token_specialisation_equals_brute(probes, case, tokens, least)
