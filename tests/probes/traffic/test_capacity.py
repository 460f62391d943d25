"""What is known of experts of limited capacity: even routing drops nothing, constant routing keeps the first; loops; refusals."""

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import probes
from probes import capacity
from tests.probes.oracle.cases import Case, golden, random_case
from tests.probes.oracle.traffic import checks
from tests.probes.traffic.routed import even, routed_store
from workbench.errors import WorkbenchError

DRAWN = settings(max_examples=int(os.environ.get("WORKBENCH_CASES", "20")), deadline=None, derandomize=True)
CASES = st.builds(
    random_case,
    seed=st.integers(0, 2**32),
    n_prompts=st.integers(2, 6),
    top_k=st.integers(1, 3),
    n_shared=st.integers(0, 2),
    samples=st.sampled_from([1, 1, 3]),
)


@DRAWN
@given(CASES, st.sampled_from(["all", "prompt", "response"]), st.integers(1, 4), st.integers(1, 3))
def test_capacity_equals_loops(case: Case, tokens: str, parts: int, together: int) -> None:
    checks.capacity_equals_brute(probes, case, tokens, parts, together)


def test_even_routing_drops_nothing_and_constant_routing_all_behind_the_first_places() -> None:
    turns = np.stack([np.arange(16) % 8, (np.arange(16) + 4) % 8], axis=1)
    assert capacity(routed_store([turns] * 3, 8), n_bootstrap=0).frame["dropped"].max() == 0
    same = np.tile([2, 5], (16, 1))
    found = capacity(routed_store([same] * 3, 8), factors=[1], parts=4, n_bootstrap=0).frame
    # 32 selections over 8 experts are 4 places; two experts have them filled by the first 4 of 16 tokens
    assert found["dropped"].tolist() == [12 / 16, 0, 1, 1, 1]
    assert found["n"].tolist() == [96, 24, 24, 24, 24]
    assert found[["first", "last"]].to_numpy().tolist() == [[0, 15], [0, 3], [4, 7], [8, 11], [12, 15]]


def test_late_tokens_are_dropped_more_and_places_for_all_drop_none() -> None:
    rng = np.random.default_rng(0)
    store = routed_store([even(rng, 64, 2, 8) for _ in range(20)], 8)
    found = capacity(store, factors=[1, 8 / 2], parts=2, n_bootstrap=0).frame
    early, late = found.query("factor == 1")["dropped"].tolist()[1:]
    assert early < 0.01 < 0.1 < late
    assert found.query("factor == 4")["dropped"].tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    "options", [{"factors": []}, {"factors": [1, 0]}, {"factors": [-1.0]}, {"parts": 0}, {"together": 0}]
)
def test_what_cannot_be_asked_is_one_sentence(options) -> None:
    with pytest.raises(WorkbenchError, match="capacity cannot be simulated: factors="):
        capacity(golden().store, **options)
