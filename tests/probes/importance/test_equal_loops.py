"""Every probe of importance equals loops over rows on random stores; 20 here, 200 with WORKBENCH_CASES=200."""

from hypothesis import given
from hypothesis import strategies as st

import probes
from tests.probes.oracle.cases import Case
from tests.probes.oracle.importance import checks
from tests.probes.oracle.importance.cases import drawn
from tests.probes.oracle.strategies import DRAWN, TOKENS, cases

CASES = cases(drawn)
MEMBERS = st.sampled_from(
    [(False, 1, 1), (True, 0, 1), (True, 1, 1), (False, 0, 1), (False, 0, 2), (True, 0, 0), (True, 1, 0)]
)


@DRAWN
@given(CASES, TOKENS, MEMBERS)
def test_saliency_equals_loops(case: Case, tokens: str, member: checks.Member) -> None:
    checks.saliency_equals_brute(probes, case, tokens, member)


@DRAWN
@given(CASES, TOKENS, st.sampled_from(["ratio", "weight"]), st.sampled_from([0.1, 0.2, 0.5, 0.8, 1.0]))
def test_esft_equals_loops(case: Case, tokens: str, measure: str, p: float) -> None:
    checks.esft_equals_brute(probes, case, tokens, measure, p)


@DRAWN
@given(CASES, TOKENS, st.sampled_from([None, "verdict"]))
def test_easy_ep_equals_loops(case: Case, tokens: str, domains: str | None) -> None:
    checks.easy_ep_equals_brute(probes, case, tokens, domains)


@DRAWN
@given(CASES)
def test_aimer_equals_loops(case: Case) -> None:
    checks.aimer_equals_brute(probes, case)


@DRAWN
@given(CASES, TOKENS, st.sampled_from(["outputs", "weights"]), st.sampled_from(["selection", "token"]))
def test_min_norm_equals_loops(case: Case, tokens: str, of: str, per: str) -> None:
    checks.min_norm_equals_brute(probes, case, tokens, of, per)


@DRAWN
@given(CASES, TOKENS)
def test_shape_equals_loops(case: Case, tokens: str) -> None:
    checks.shape_equals_brute(probes, case, tokens)


@DRAWN
@given(CASES, TOKENS)
def test_unlearning_affinity_equals_loops(case: Case, tokens: str) -> None:
    checks.unlearning_affinity_equals_brute(probes, case, tokens)


@DRAWN
@given(CASES, TOKENS, st.integers(1, 3), st.sampled_from([-1.0, 0.3, 0.5]))
def test_tcess_equals_loops(case: Case, tokens: str, first: int, threshold: float) -> None:
    checks.tcess_equals_brute(probes, case, tokens, first, threshold)
