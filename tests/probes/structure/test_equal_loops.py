"""Every probe of structure equals loops over rows on random stores; 20 here, 200 with WORKBENCH_CASES=200."""

import os

from hypothesis import given, settings
from hypothesis import strategies as st

import probes
from tests.probes.oracle.cases import Case, random_case
from tests.probes.oracle.structure import checks
from tests.probes.oracle.structure.cases import enriched

CASES = st.builds(
    random_case,
    seed=st.integers(0, 2**32),
    n_prompts=st.integers(2, 6),
    top_k=st.integers(1, 3),
    n_shared=st.integers(0, 2),
    samples=st.sampled_from([1, 1, 3]),
)
TOKENS = st.sampled_from(["all", "prompt", "response", "last_prompt"])
DRAWN = settings(max_examples=int(os.environ.get("WORKBENCH_CASES", "20")), deadline=None, derandomize=True)


@DRAWN
@given(CASES, TOKENS)
def test_pathways_equal_loops(case: Case, tokens: str) -> None:
    checks.pathways_equals_brute(probes, case, tokens)


@DRAWN
@given(CASES, TOKENS, st.booleans(), st.sampled_from([2, 2, 3]))
def test_placements_equal_loops(case: Case, tokens: str, one_program: bool, devices: int) -> None:
    checks.placement_equals_brute(probes, case, tokens, one_program, devices)


@DRAWN
@given(CASES, TOKENS, st.sampled_from(["router", "logits", "outputs"]), st.booleans())
def test_similarities_equal_loops(case: Case, tokens: str, by: str, centred: bool) -> None:
    checks.similarity_equals_brute(probes, enriched(case), tokens, by, centred)
