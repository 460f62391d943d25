"""`ExpertScores`: ends, flags, text, files, and what is refused."""

import copy
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probes import ExpertScores, ftri, super_experts, usage
from probes.ranking import ranked, ref_of, refs_of
from tests.probes.oracle.cases import golden
from tests.probes.oracle.checks import QUICK
from tests.probes.oracle.goldens import outlier_rows
from tests.probes.oracle.memory import anatomy, memory_store
from workbench.anatomy import ExpertRef
from workbench.errors import WorkbenchError
from workbench.plan import Plan


def made(scores: list[float | None], shared: bool = False) -> ExpertScores:
    frame = pd.DataFrame(
        {"layer": range(len(scores)), "expert": 0, "score": [float("nan") if s is None else s for s in scores]}
    )
    frame = frame.assign(n=1, low=0.1, high=1 / 3, p=float("nan"), p_adjusted=1e-300, flags="dead; ties")
    if shared:
        frame["is_shared"] = [i % 2 == 1 for i in range(len(scores))]
    return ExpertScores("ftri", {"seed": 0, "where": None}, ranked(frame), ("a note",), "f" * 16, "test/moe")


def test_ends_are_ordered_and_carry_the_fingerprint() -> None:
    scores = made([0.5, -1, None, 2, 0, -3])
    assert [str(x) for x in scores.top(2)] == ["L3E0", "L0E0"]
    assert [str(x) for x in scores.bottom(2)] == ["L5E0", "L1E0"]
    assert Plan.off(scores.top(2)).fingerprint == "f" * 16


@pytest.mark.parametrize(
    "chosen",
    [
        lambda top: top,
        lambda top: top[:1],
        lambda top: list(top)[1:],
        sorted,
        set,
        lambda top: [ref for ref in top if ref.layer],
        lambda top: top[0],
        lambda top: (*top, "L1E0"),
        lambda top: reversed(top),
        lambda top: Plan.mute(top).experts,
        lambda top: copy.deepcopy(top),
    ],
)
def test_experts_of_a_ranking_keep_its_model_however_they_are_gathered(chosen: Any) -> None:
    """A plan of them is refused on another model; an expert that somebody names is anybody's."""
    plan = Plan.off(chosen(made([0.5, -1, None, 2, 0, -3]).top(2)))
    assert plan.fingerprint == "f" * 16
    with pytest.raises(WorkbenchError, match="This plan was made on another model"):
        plan.for_model(anatomy([1], 1))
    assert Plan.off(["L3E0", "L0E0"]).for_model(anatomy([1], 1)).fingerprint == anatomy([1], 1).fingerprint


def test_an_expert_is_the_same_whoever_ranked_it() -> None:
    ranked_, named = made([0.5]).top(1)[0], ExpertRef(0, 0)
    assert (ranked_, hash(ranked_), str(ranked_), repr(ranked_)) == (named, hash(named), str(named), repr(named))
    assert not ranked_ < named
    assert not named < ranked_
    assert ExpertRef.parse(str(ranked_)).fingerprint is None


def test_experts_of_two_models_make_no_plan() -> None:
    other = replace(made([0, 3]), fingerprint="e" * 16).top(1)
    with pytest.raises(
        WorkbenchError, match=f"ranked on two models \\({'f' * 16} and {'e' * 16}\\); make a plan of one's"
    ):
        Plan.off(made([1]).top(1) + other)


def test_equal_scores_follow_layer_and_number_at_both_ends() -> None:
    scores = made([1, -1, 1, -1])
    assert [x.layer for x in scores.top(2)] == [0, 2]
    assert [x.layer for x in scores.bottom(2)] == [1, 3]


def test_an_end_is_never_filled_up() -> None:
    scores = made([0.5, -1, None, 2, 0, -3])
    with pytest.raises(WorkbenchError, match="Only 2 of 6 experts have a ftri score above zero, and 3 were asked for"):
        scores.top(3)
    with pytest.raises(WorkbenchError, match="Only 2 of 6 experts have a ftri score below zero"):
        scores.bottom(3)
    with pytest.raises(WorkbenchError, match="ask for 1 or more"):
        scores.top(0)


def test_shared_experts_are_refs_of_their_own_kind() -> None:
    assert made([1, 2], shared=True).top(2) == (ExpertRef(1, 0, True), ExpertRef(0, 0))


def test_text_ranks_and_says_association() -> None:
    text = repr(made([0.25, None] + [0.1] * 20))
    assert text.splitlines()[0].startswith("ftri of 22 experts of test/moe (seed=0)")
    assert "L0E0   0.25" in text
    assert "... 12 more" in text
    assert "Associated with these prompts; an effect is measured by compare()." in text
    assert "- a note" in text


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False)), min_size=1, max_size=6),
    st.booleans(),
)
def test_files_give_the_same_scores_back(values: list[float | None], shared: bool) -> None:
    import tempfile

    scores = made(values, shared)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scores"
        for kind in ("parquet", "csv", "json"):
            getattr(scores, f"to_{kind}")(path)
            back = getattr(ExpertScores, f"from_{kind}")(path)
            pd.testing.assert_frame_equal(back.frame, scores.frame, check_exact=True)
            for name in ("method", "options", "notes", "fingerprint", "model"):
                assert getattr(back, name) == getattr(scores, name)
    assert ExpertScores.from_json(scores.to_json()).notes == ("a note",)


def test_null_is_null_in_json() -> None:
    assert '"score": null' in made([None]).to_json()
    assert "NaN" not in made([None]).to_json()


@pytest.mark.parametrize("kind", ["parquet", "csv", "json"])
def test_other_files_are_refused(kind: str, tmp_path: Path) -> None:
    read = getattr(ExpertScores, f"from_{kind}")
    with pytest.raises(WorkbenchError, match="There are no scores at"):
        read(tmp_path / "none")
    (tmp_path / "other").write_text("layer,expert\n1,2\n")
    with pytest.raises(WorkbenchError, match="holds no expert scores"):
        read(tmp_path / "other")


def test_real_scores_round_trip_with_their_options() -> None:
    scores = ftri(golden().store, "refused", "answered", n_permutations=50, n_bootstrap=50)
    back = ExpertScores.from_json(scores.to_json())
    pd.testing.assert_frame_equal(back.frame, scores.frame, check_exact=True)
    assert back.options == scores.options
    assert back.top(2) == scores.top(2)


def test_dead_experts_and_ties_are_flagged() -> None:
    scores = usage(golden().store, tokens="prompt", n_bootstrap=0)
    assert [str(x) for x in scores.flagged("dead")] == ["L2E4"]
    # loads of 6, 6, 4 and 4, 4, 3, 5, 0 selections
    assert {str(x) for x in scores.flagged("ties")} == {"L1E0", "L1E1", "L1E2", "L2E0", "L2E1"}


def test_no_difference_is_exactly_zero() -> None:
    case = golden()
    for row in case.rows["slots"]:  # everyone selects L1E0 and L1E1, whatever the length
        if row["layer"] == 1:
            row["expert"] = row["slot"]
    scores = ftri(case.store, "refused", "answered", **QUICK).frame
    found = scores[(scores["layer"] == 1) & (scores["expert"] < 2)]["score"]
    assert found.tolist() == [0.0, 0.0]
    assert math.copysign(1, found.iloc[0]) == 1


def test_super_experts_are_flagged_in_every_list() -> None:
    store = memory_store(anatomy((0, 11, 11, 11), 1, 1), outlier_rows())
    assert [str(x) for x in usage(store, n_bootstrap=0).flagged("super expert")] == ["L1E7"]


def test_a_list_says_when_super_experts_could_not_be_flagged() -> None:
    notes = usage(golden().store, n_bootstrap=0).notes
    assert any("super experts are not flagged: The store 'memory' kept no residual" in note for note in notes)


def test_super_experts_without_norms_are_refused() -> None:
    rows = outlier_rows()
    for row in rows["slots"]:
        row["output_max_abs"] = None
    with pytest.raises(WorkbenchError, match="kept no output norms"):
        super_experts(memory_store(anatomy((0, 11, 11, 11), 1, 1), rows))


def test_a_parquet_file_of_scores_is_also_a_frame_for_others(tmp_path: Path) -> None:
    """Beside what the scores are, pandas's own note on the columns is kept, so that plain pandas reads the same frame."""
    import pyarrow.parquet as pq

    scores = usage(memory_store(golden().anatomy, golden().rows), n_bootstrap=0)
    scores.to_parquet(tmp_path / "s.parquet")
    assert {b"pandas", b"expert_scores"} <= set(pq.read_schema(tmp_path / "s.parquet").metadata)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "s.parquet"), scores.frame)


def test_every_frame_says_which_experts_are_shared_and_a_row_names_its_expert() -> None:
    frame = pd.DataFrame(
        {"layer": [3, 3], "expert": [1, 1], "score": [2.0, 1.0], "n": 1, "flags": "", "is_shared": [True, False]}
    )
    found = ExpertScores("mine", {}, frame, (), "f")
    assert [str(ref) for ref in found.top(2)] == ["L3S1", "L3E1"]
    assert [str(ref_of(row)) for row in found.frame.to_dict("records")] == ["L3S1", "L3E1"]
    assert [str(ref) for ref in refs_of(found.frame)] == ["L3S1", "L3E1"]
    alone = ExpertScores("mine", {}, frame.drop(columns="is_shared"), (), "f").frame
    assert alone["is_shared"].tolist() == [False, False]
    assert "is_shared" in ftri(golden().store, "refused", **QUICK).frame


def test_the_first_of_a_ranking_are_those_with_a_score_other_than_zero() -> None:
    scores = made([0.5, None, 0, -3, 0])
    assert scores.first(4)["layer"].tolist() == [0, 3]
    assert scores.first(3)["layer"].tolist() == [0]
    assert scores.silent(3) == "Not listed: 2 of the first 3 experts, whose score is zero or missing."
    assert scores.silent(9) == "Not listed: 3 of the first 5 experts, whose score is zero or missing."
    assert made([0.5, -1]).silent(9) == ""
    assert [line.split()[0] for line in str(scores).splitlines()[2:4]] == ["L0E0", "L3E0"]
    with pytest.raises(
        WorkbenchError, match=r"None of 2 experts have a ftri score above zero, and 1 were asked for; look"
    ):
        made([0, -1]).top(1)


def test_what_was_asked_quotes_a_value_that_holds_an_equals_sign() -> None:
    asked = replace(made([1]), options={"target": "topic=war", "baseline": "peace", "where": None, "seed": 0}).asked
    assert asked == 'ftri of 1 experts of test/moe (target="topic=war", baseline=peace, seed=0)'
