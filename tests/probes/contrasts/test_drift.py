"""Drift between two stores: brute force on random pairs, its intervals and p-values, its limits, and what cannot be compared."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import probes
from probes import contrast, drift
from tests.probes.oracle.cases import Case, golden, random_case
from tests.probes.oracle.checks import scores
from tests.probes.oracle.contrasts.cases import after, alone, before, merged, tuned
from tests.probes.oracle.contrasts.checks import drift_equals_brute
from tests.probes.oracle.importance.cases import drawn
from tests.probes.oracle.memory import disk_store
from tests.probes.oracle.strategies import DRAWN, TOKENS, cases
from workbench import Plan
from workbench.anatomy import RoutingRule
from workbench.errors import WorkbenchError

WHAT = ("use", "weight", "output")
CASES = cases(drawn)


@DRAWN
@given(
    CASES,
    st.integers(0, 99),
    st.sampled_from([0.0, 0.5, 1.0]),
    st.sampled_from(WHAT),
    TOKENS,
)
def test_drift_equals_loops(case: Case, seed: int, share: float, what: str, tokens: str) -> None:
    drift_equals_brute(probes, case, tuned(case, seed, share), what, tokens)


def noted(found: Any, holds: str) -> str:
    """The one note that holds these words."""
    (note,) = [note for note in found.notes if holds in note]
    return note


def column(found: Any, name: str = "score") -> np.ndarray:
    return found.frame.sort_values(["layer", "expert"])[name].to_numpy()


# ---- known limits


@pytest.mark.parametrize("what", WHAT)
def test_a_store_against_itself_has_not_moved(what: str) -> None:
    store = drawn(3, n_prompts=12).store
    found: Any = drift(store, store, what=what).frame
    there = found["score"].notna()
    assert set(found["score"][there]) == set(found["low"][there]) == set(found["high"][there]) == {0.0}
    assert (found["n"][~there] == 0).all()
    assert what != "use" or set(found["p"]) == {1.0}


def changed(case: Case, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Case:
    for slot in case.rows["slots"]:
        slot |= change(slot)
    return case


@pytest.mark.parametrize(("by", "score"), [(2, 1.0), (0.5, -0.5), (0, -1.0)])
def test_an_expert_that_writes_so_many_times_as_much_moved_by_that_and_no_other_did(by: float, score: float) -> None:
    one = drawn(5, n_prompts=12)
    place = (one.rows["slots"][0]["layer"], one.rows["slots"][0]["expert"])
    other = changed(
        drawn(5, n_prompts=12),
        lambda s: {"output_l2": s["output_l2"] * (by if (s["layer"], s["expert"]) == place else 1)},
    )
    found: Any = drift(one.store, other.store, what="output", tokens="all").frame
    is_it = (found["layer"] == place[0]) & (found["expert"] == place[1])
    assert found[is_it][["score", "low", "high"]].to_numpy().tolist() == [[score] * 3]
    assert set(found[~is_it]["score"].dropna()) == {0.0}
    for what in ("use", "weight"):
        assert set(drift(one.store, other.store, what=what).frame["score"].dropna()) == {0.0}


def test_use_the_other_way_round_has_the_other_sign() -> None:
    one, other = drawn(6), tuned(drawn(6), 1)
    there, back = (
        drift(*pair, n_bootstrap=0, n_permutations=0) for pair in ((one.store, other.store), (other.store, one.store))
    )
    assert column(there) == pytest.approx(-column(back))


def test_an_expert_that_one_store_never_selects_has_no_mean_to_move_from() -> None:
    one = changed(drawn(7), lambda s: {"expert": 1 if s["expert"] == 0 and s["layer"] == 1 else s["expert"]})
    other = drawn(7)
    for pair in ((one, other), (other, one)):
        score, n = scores(drift(pair[0].store, pair[1].store, what="weight", tokens="all"))[1, 0]
        assert (score, n > 0) == (None, True)
    use, _ = scores(drift(one.store, other.store, tokens="all"))[1, 0]
    assert use > 0


# ---- intervals and p-values: those of the risk difference, where the two stores are the two classes of one


def same_as_contrast(found: Any, expected: Any) -> None:
    names = ["layer", "expert", "score", "n", "low", "high", "p", "p_adjusted"]
    pd.testing.assert_frame_equal(found.frame[names], expected.frame[names], rtol=0, atol=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_two_stores_of_the_same_prompts_are_the_sides_of_pairs(seed: int) -> None:
    one, other = alone(drawn(seed, n_prompts=9)), alone(tuned(drawn(seed, n_prompts=9), seed))
    whole = merged(one, other, pair=True).store
    found = drift(one.store, other.store, tokens="all", n_bootstrap=300, n_permutations=300)
    expected = contrast(whole, "side=2", "side=1", tokens="all", permute="pairs", n_bootstrap=300, n_permutations=300)
    same_as_contrast(found, expected)
    assert noted(found, "in both").startswith("9 of 9 prompts are in both stores; stores exchanged within prompts")
    assert noted(found, "resample 9 clusters of prompts as wholes, and intervals from fewer than 10 are too narrow")


@pytest.mark.parametrize("seed", range(4))
def test_two_stores_of_other_prompts_are_two_classes(seed: int) -> None:
    one, other = alone(drawn(seed, n_prompts=9)), alone(tuned(drawn(seed, n_prompts=9), seed, share=0))
    whole = merged(one, other, pair=False).store
    found = drift(one.store, other.store, tokens="all", n_bootstrap=300, n_permutations=300)
    expected = contrast(whole, "side=2", "side=1", tokens="all", permute="prompts", n_bootstrap=300, n_permutations=300)
    same_as_contrast(found, expected)
    assert noted(found, "in both") == "0 of 18 prompts are in both stores; stores exchanged between whole clusters"


def test_the_same_prompts_are_resampled_together_and_others_are_not() -> None:
    # the clusters are the pairs x = (a, b) and y = (c, d), in both stores: a resample is xx, xy or yy
    # use of L1E0: x alone (1 + 1) / 5 - (2 + 1) / 5, y alone 0; its mean weight: x alone (3/4 + 3/4) / 2 - (1 + 1/4) / 3
    found = drift(before().store, after().store)
    assert [found.frame.iloc[-1][name] for name in ("layer", "expert", "low", "high")] == [
        1,
        0,
        pytest.approx(-1 / 5),
        0,
    ]
    weight = drift(before().store, after().store, what="weight")
    assert (column(weight, "low")[0], column(weight, "high")[0]) == (0, pytest.approx(1 / 3))
    # as independent prompts a resample of one store's x may meet the other's y: 2/3 of y before, 2/5 of x after
    renamed = Case(
        {n: [{**r, "prompt_id": f"z{r['prompt_id']}"} for r in t] for n, t in after().rows.items()}, golden().anatomy
    )
    apart = drift(before().store, renamed.store, tokens="prompt")
    x, y = {"before": 3 / 5, "after": 2 / 5}, {"before": 3 / 3, "after": 3 / 3}
    row = apart.frame[(apart.frame["layer"] == 1) & (apart.frame["expert"] == 0)].iloc[0]
    assert row["low"] == pytest.approx(x["after"] - y["before"])
    assert row["high"] == pytest.approx(y["after"] - x["before"])


def test_where_some_prompts_are_shared_only_those_exchange_within_themselves() -> None:
    one, other = alone(drawn(2, n_prompts=12)), alone(tuned(drawn(2, n_prompts=12), 5, share=0.5))
    found = drift(one.store, other.store, tokens="all")
    shared = {p["prompt_id"] for p in one.rows["prompts"]} & {p["prompt_id"] for p in other.rows["prompts"]}
    assert 0 < len(shared) < 12
    assert noted(found, "in both") == (
        f"{len(shared)} of {24 - len(shared)} prompts are in both stores; stores exchanged within shared prompts, and between "
        f"other clusters"
    )
    assert found.frame["p"].between(0, 1).all()
    assert (found.frame["p_adjusted"] >= found.frame["p"]).all()


def test_a_prompt_of_the_same_id_and_another_text_is_another() -> None:
    other = golden()
    for prompt in other.rows["prompts"]:
        prompt["text"] += "!"
    assert noted(drift(golden().store, other.store), "in both").startswith("0 of 8 prompts are in both stores")


def test_a_drift_that_all_prompts_share_is_told_from_chance() -> None:
    one = alone(random_case(1, n_prompts=12, top_k=1))
    other = changed(
        alone(random_case(1, n_prompts=12, top_k=1)),
        lambda s: {"expert": 0 if s["layer"] == 1 and s["slot"] == 0 else s["expert"]},
    )
    found: Any = drift(one.store, other.store, tokens="all").frame
    assert found["p_adjusted"].iloc[0] < 0.01
    assert (found["layer"].iloc[0], found["expert"].iloc[0], found["low"].iloc[0] > 0) == (1, 0, True)


# ---- what is said, and refused


def test_stores_on_disk_by_their_paths(tmp_path: Path) -> None:
    one, other = drawn(8, n_prompts=8), tuned(drawn(8, n_prompts=8), 2)
    for name, case in (("one", one), ("two", other)):
        disk_store(tmp_path / name, case.anatomy, case.rows, 2)
    opened = disk_store(tmp_path / "three", one.anatomy, one.rows, 3)
    found = drift(opened, str(tmp_path / "two"), what="output")
    pd.testing.assert_frame_equal(found.frame, drift(one.full_store, other.full_store, what="output").frame)
    assert found.options["other"] == str(tmp_path / "two")
    assert (found.options["what"], found.options["tokens"]) == ("output", "prompt_content")
    with pytest.raises(WorkbenchError, match="There is no folder 'nowhere', so it is not a store"):
        drift(opened, "nowhere")


def test_the_notes_say_which_models_and_what_was_read() -> None:
    found = drift(before().store, after().store)
    assert found.notes[:3] == (
        f"both stores are of one model, test/moe ({golden().anatomy.fingerprint})",
        "8 tokens of 4 responses read",
        "in the other store: 8 tokens of 4 responses read",
    )
    taught = Case(after().rows, replace(after().anatomy, model="tuned/moe", weights="1"))
    steered = taught.store
    steered.plan_json["steering"] = json.loads(Plan.off("L1E0").to_json())
    notes = drift(before().store, steered).notes
    assert "in the other store: captured under a plan, not the base model: off L1E0" in notes
    assert notes[0] == (
        f"taken for one model before and after tuning: test/moe ({golden().anatomy.fingerprint}) and tuned/moe "
        f"({taught.anatomy.fingerprint}); of models trained apart expert numbers mean nothing"
    )


def of_model(**changes: Any) -> Case:
    return Case(golden().rows, replace(golden().anatomy, **changes))


def other_anatomy(**changes: Any) -> Case:
    case = golden()
    layers = tuple(replace(x, **changes) if x.layer == 2 else x for x in case.anatomy.layers)
    return Case(case.rows, replace(case.anatomy, layers=layers))


def of_layer(layer: int) -> Case:
    case = golden()
    return Case({**case.rows, "slots": [s for s in case.rows["slots"] if s["layer"] == layer]}, case.anatomy)


DO = "so expert numbers do not mean the same in both; compare stores of one model before and after tuning, or of one model on "
REFUSED = [
    (lambda: of_model(family="other"), "has the family test and 'memory' has the family other"),
    (lambda: of_model(hidden_size=1024), "a hidden size of 8 and 'memory' has a hidden size of 1,024"),
    (lambda: of_layer(1), "has layers 1, 2 captured and 'memory' has layers 1 captured"),
    (
        lambda: other_anatomy(n_experts=6),
        "has 5 experts in layer 2, top-2, routed by a rule that was not found and 'memory' has 6 experts in layer 2, top-2",
    ),
    (lambda: other_anatomy(top_k=1), "has 5 experts in layer 2, top-2, .* and 'memory' has 5 experts in layer 2, top-1"),
    (lambda: other_anatomy(rule=RoutingRule("sigmoid", True)), "and 'memory' has .* routed by sigmoid, top-k, renormalised"),
]  # fmt: skip


@pytest.mark.parametrize(("other", "said"), REFUSED)
def test_stores_of_another_architecture_are_refused(other: Callable[[], Case], said: str) -> None:
    with pytest.raises(WorkbenchError, match=f"{said}.*{DO}"):
        drift(golden().store, other().store)


def test_what_cannot_be_asked_is_a_sentence() -> None:
    with pytest.raises(WorkbenchError, match="what='norm' is not known; it can be use, weight, output"):
        drift(golden().store, golden().store, what="norm")
    with pytest.raises(
        WorkbenchError, match=r"kept no norms of what its experts write; capture it again with keep={'norms'}"
    ):
        drift(golden().store, golden().store, what="output")
    bare = golden().store
    bare.plan_json["lacks"] = ["weight"]
    with pytest.raises(WorkbenchError, match="expert ids without their routing weights"):
        drift(golden().store, bare, what="weight")
    none = (
        "no interval: none was asked for",
        "no p-value: a mean over the tokens that select an expert has no exchange",
    )
    notes = drift(before().store, after().store, what="weight", n_bootstrap=0).notes
    assert all(any(note.startswith(said) for note in notes) for said in none)
    one = drift(before().store, after().store, what="output", where="pair=x")
    assert "no interval: one store has 1 cluster, and 2 are needed" in one.notes
