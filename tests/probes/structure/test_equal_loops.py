"""Every probe of structure equals loops over rows on random stores; 20 here, 200 with WORKBENCH_CASES=200."""

from hypothesis import given
from hypothesis import strategies as st

import probes
from tests.probes.oracle.cases import Case, random_case
from tests.probes.oracle.strategies import DRAWN, TOKENS, cases
from tests.probes.oracle.structure import checks
from tests.probes.oracle.structure.cases import enriched

CASES = cases(random_case)


@DRAWN
@given(CASES, TOKENS)
def test_pathways_equal_loops(case: Case, tokens: str) -> None:
    checks.pathways_equals_brute(probes, case, tokens)


@DRAWN
@given(CASES, TOKENS, st.booleans(), st.sampled_from([2, 2, 3]))
def test_placements_equal_loops(case: Case, tokens: str, one_program: bool, devices: int) -> None:
    checks.placement_equals_brute(probes, case, tokens, one_program, devices)


@DRAWN
@given(CASES, st.booleans())
def test_router_spans_equal_loops(case: Case, centred: bool) -> None:
    checks.router_span_equals_brute(probes, enriched(case), centred)


@DRAWN
@given(CASES, TOKENS, st.integers(2, 4), st.sampled_from([0.2, 0.5, 1.0]))
def test_path_clusters_equal_loops(case: Case, tokens: str, clusters: int, share: float) -> None:
    checks.path_clusters_equals_brute(probes, case, tokens, clusters, share)


@DRAWN
@given(CASES, TOKENS, st.sampled_from(["router", "logits", "outputs", "cka"]), st.booleans())
def test_similarities_equal_loops(case: Case, tokens: str, by: str, centred: bool) -> None:
    checks.similarity_equals_brute(probes, enriched(case), tokens, by, centred)
