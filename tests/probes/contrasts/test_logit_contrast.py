"""Contrasted logits: brute force on random stores, the test and the interval drawn once more, known limits, refusals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import probes
from probes import logit_contrast
from tests.probes.oracle.cases import GOLDEN_LABEL, Case, golden, label
from tests.probes.oracle.checks import QUICK
from tests.probes.oracle.contrasts.checks import logit_contrast_equals_brute
from tests.probes.oracle.importance.cases import drawn, judged
from tests.probes.oracle.memory import memory_store
from tests.probes.oracle.strategies import DRAWN, TOKENS, cases
from tests.probes.traffic.routed import even, routed_rows
from workbench.errors import WorkbenchError
from workbench.store import Store

CASES = cases(drawn)


@DRAWN
@given(CASES, TOKENS, st.sampled_from(["responses", "tokens"]), st.booleans())
def test_logit_contrasts_equal_loops(case: Case, tokens: str, pooling: str, centred: bool) -> None:
    logit_contrast_equals_brute(probes, case, tokens, pooling, centred)


def columns(found: probes.ExpertScores, *names: str) -> np.ndarray:
    """[experts, names], by layer and number."""
    return found.frame.sort_values(["layer", "expert"])[[*names]].to_numpy()


def test_interval_and_p_value_are_those_of_the_draws_counted_one_by_one() -> None:
    """Expert 0 of layer 1 has log 2 times the share of first tokens, up to what all share: a 1/2, b 1/3, c 1, d 1/2."""
    found = logit_contrast(judged().store, "refused", "answered")
    first = {"a": 1 / 2, "b": 1 / 3, "c": 1, "d": 1 / 2}
    # a resample of the pairs x = (a, b) and y = (c, d) is xx, xy or yy: from 1/6 to 1/2
    low, high = columns(found, "low", "high")[0]
    assert (low, high) == pytest.approx((np.log(2) / 6, np.log(2) / 2), abs=1e-6)
    drawn = np.argsort(np.random.default_rng([0, 0]).random((1000, 4)), axis=1)
    share = np.array([first[p] for p in "abcd"])
    refused = np.array([GOLDEN_LABEL[p] == "refused" for p in "abcd"])[drawn]
    null = (np.where(refused, share, 0).sum(axis=1) - np.where(refused, 0, share).sum(axis=1)) / 2
    assert columns(found, "p")[0, 0] == pytest.approx((1 + (abs(null) >= 1 / 3 - 1e-9).sum()) / 1001)


def test_experts_that_no_token_selected_have_a_score_and_are_dead() -> None:
    found = logit_contrast(judged().store, "refused", "answered", **QUICK)
    assert [str(x) for x in found.flagged("dead")] == ["L2E4"]
    assert [str(x) for x in found.bottom(1)] == ["L2E4"]


def test_what_all_logits_of_a_token_share_changes_nothing_where_they_are_centred() -> None:
    case = judged()
    for i, row in enumerate(case.rows["logits"]):
        row["router_logits"] = [z + i for z in row["router_logits"]]
    plain = columns(logit_contrast(judged().store, "refused", "answered"), "score", "low", "high")
    moved = columns(logit_contrast(case.store, "refused", "answered"), "score", "low", "high")
    assert moved == pytest.approx(plain, abs=1e-5)


def asked(values: list[str], seed: int = 0, more: float = 0.0) -> Store:
    """Twelve prompts with logits at random; expert 2 has `more` where the label is a."""
    rng = np.random.default_rng(seed)
    rows, anatomy = routed_rows([even(rng, 8, 2, 6) for _ in values], 8)
    rows["labels"] = [label(f"p{n:04d}", value, name="kind") for n, value in enumerate(values)]
    rows["logits"] = []
    for slot in rows["slots"]:
        if slot["slot"] == 0:
            key = {name: slot[name] for name in ("prompt_id", "sample", "position", "layer")}
            logits = rng.normal(size=8) + more * (values[int(slot["prompt_id"][1:])] == "a") * (np.arange(8) == 2)
            rows["logits"].append({**key, "router_logits": logits.tolist()})
    return memory_store(anatomy, rows)


@pytest.mark.slow
def test_labels_at_random_are_rarely_told_apart() -> None:
    """200 labellings: p below 0.05, corrected over all experts, in at most 18."""
    rng, passed = np.random.default_rng(0), 0
    for seed in range(200):
        store = asked([str(x) for x in rng.permutation([*"aaaaaabbbbbb"])], seed)
        how = {"tokens": "all", "n_permutations": 99, "n_bootstrap": 0, "seed": seed}
        passed += bool((logit_contrast(store, "kind=a", **how).frame["p_adjusted"] < 0.05).any())
    assert passed <= 18


def test_a_logit_that_goes_with_the_label_is_found() -> None:
    found = logit_contrast(asked([*"ab"] * 6, more=2.0), "kind=a", tokens="all", n_permutations=200)
    best = found.frame.iloc[0]
    assert (best["expert"], best["p_adjusted"] < 0.02, best["low"] > 1) == (2, True, True)
    assert found.frame["p_adjusted"].iloc[1:-1].min() > 0.05


def test_tokens_whose_logits_are_not_all_numbers_are_left_out_in_every_layer() -> None:
    case = judged()
    for row in case.rows["logits"]:
        if (row["prompt_id"], row["position"], row["layer"]) == ("b", 0, 2):
            row["router_logits"] = [float("nan"), 0, 0, 0, 0]
    found = logit_contrast(case.store, "refused", "answered", **QUICK)
    assert "1 tokens whose logits are not all numbers were left out" in found.notes
    # of b's two that are left none is the first: answered 1/4 on average
    assert columns(found, "score")[0, 0] == pytest.approx(np.log(2) / 2)


def test_what_cannot_be_asked_is_one_sentence() -> None:
    with pytest.raises(WorkbenchError, match="pooling='any' is not known; it can be responses, tokens"):
        logit_contrast(judged().store, "refused", "answered", pooling="any")  # pyright: ignore[reportArgumentType]
    with pytest.raises(WorkbenchError, match="kept no router logits; capture it again with keep="):
        logit_contrast(golden().store, "refused", "answered")
