"""The tables of use equal loops over rows on random stores; 20 here, 200 with WORKBENCH_CASES=200."""

from hypothesis import given
from hypothesis import strategies as st

import probes
from tests.probes.oracle.cases import Case, random_case
from tests.probes.oracle.strategies import DRAWN, TOKENS, cases
from tests.probes.oracle.utilisation import checks

CASES = cases(random_case)


@DRAWN
@given(CASES, TOKENS)
def test_entropies_equal_loops(case: Case, tokens: str) -> None:
    checks.routing_entropy_equals_brute(probes, case, tokens)


@DRAWN
@given(CASES, TOKENS, st.integers(0, 4))
def test_experts_selected_together_equal_loops(case: Case, tokens: str, first: int) -> None:
    checks.co_selection_equals_brute(probes, case, tokens, first)


@DRAWN
@given(CASES, TOKENS)
def test_dead_experts_equal_loops(case: Case, tokens: str) -> None:
    checks.dead_experts_equals_brute(probes, case, tokens)
