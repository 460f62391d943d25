"""Every probe of specialisation equals loops over rows on random stores; 20 here, 200 with WORKBENCH_CASES=200."""

from hypothesis import given
from hypothesis import strategies as st

import probes
from tests.probes.oracle.cases import Case, random_case
from tests.probes.oracle.importance.cases import enriched
from tests.probes.oracle.specialisation import checks
from tests.probes.oracle.specialisation.directions import with_directions
from tests.probes.oracle.strategies import DRAWN, TOKENS, cases

CASES = cases(random_case, most=7)


@DRAWN
@given(CASES, TOKENS, st.sampled_from(["ratio", "weight"]), st.sampled_from([0.3, 0.5, 0.75, 1.0]))
def test_committee_equals_loops(case: Case, tokens: str, measure: str, p: float) -> None:
    checks.committee_equals_brute(probes, case, tokens, measure, p)


@DRAWN
@given(CASES, TOKENS, st.sampled_from(["weight", "logits"]), st.sampled_from([0.25, 0.5, 0.9, 1.0]), st.integers(1, 3))
def test_difficulty_equals_loops(case: Case, tokens: str, of: str, p: float, least: int) -> None:
    checks.difficulty_equals_brute(probes, enriched(case), tokens, of, p, least)


@DRAWN
@given(CASES, TOKENS, st.integers(1, 3), st.sampled_from([0.0, 1.0, 3.0]))
def test_describe_equals_loops(case: Case, tokens: str, n_words: int, evidence: float) -> None:
    checks.describe_equals_brute(probes, case, tokens, n_words, evidence)


@DRAWN
@given(
    CASES,
    st.sampled_from(["neurons", "experts"]),
    st.sampled_from(["read", "gate", "write"]),
    st.sampled_from([None, "cat", "nowhere"]),
)
def test_decode_equals_loops(case: Case, of: str, side: str, token: str | None) -> None:
    checks.decode_equals_brute(probes, with_directions(case), of, side, token)


@DRAWN
@given(CASES, TOKENS, st.sampled_from(["spread", "bits"]))
def test_domain_specialisation_equals_loops(case: Case, tokens: str, measure: str) -> None:
    checks.domain_specialisation_equals_brute(probes, case, tokens, measure)
