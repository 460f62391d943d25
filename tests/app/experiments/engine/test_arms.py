"""The arms of a recipe: which experts of which ranking each holds, and why one cannot be run."""

from typing import Any

import pandas as pd
import pytest
from workbench_app.experiments.engine import arms_of
from workbench_app.experiments.engine.arms import Ranked, empty_arms, from_rows, to_rows
from workbench_app.experiments.recipe import Recipe, recipe_from

from probes.ranking import ExpertScores
from tests.app.experiments.engine.small import SHAPE
from tests.support.recipes import recipe_data
from workbench import ExpertRef, Plan, WorkbenchError


def ranking(is_shared: bool = False) -> ExpertScores:
    """L1E0 first, L1E1, ... L1E5 with falling scores; of the last two the first was never selected, the other has no score."""
    rows = [(1, e, 0.5 - 0.2 * e, 9, "") for e in range(6)] + [(2, 0, -1.0, 0, "dead"), (2, 1, float("nan"), 3, "")]
    frame = pd.DataFrame(rows, columns=["layer", "expert", "score", "n", "flags"])
    frame.loc[1, "flags"] = "ties; super expert"
    return ExpertScores("ftri", {}, frame.assign(is_shared=True) if is_shared else frame, (), SHAPE.fingerprint, "m")


def ranked(**failed: str) -> Ranked:
    loads = {"cats": pd.DataFrame({"is": ["cats"]}), "dogs": pd.DataFrame({"is": ["dogs"]})}
    return Ranked.of({} if failed else {"cats": ranking(), "dogs": ranking()}, loads, failed)


def recipe_with(*plans: Any, **changes: Any) -> Recipe:
    rankings = [{"name": n, "method": "usage", "prompts": "ranked"} for n in ("cats", "dogs")]
    controls = {"count": 1, "layer": 1, "usage": 2} | changes.pop("controls", {})
    return recipe_from(recipe_data(plans=list(plans), rankings=rankings, controls=controls, **changes))


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is asked of every random draw: the plan, how it is matched, by whose loads, and the seed."""
    asked: list[Any] = []

    def random_like(plan: Plan, shape: Any, match: str, loads: Any, seed: int) -> Plan:
        asked.append((str(plan), match, None if loads is None else loads["is"].item(), seed))
        return Plan.off([ExpertRef(2, 5)])

    monkeypatch.setattr(Plan, "random_like", random_like)
    return asked


def recipe_of_two() -> Recipe:
    """A plan by ranking and one in words."""
    by_ranking = {"ranking": "dogs", "n": 2, "edit": "off", "phase": "generated"}
    return recipe_with(by_ranking, {"text": "mute L1E1", "name": "one"}, seed=3)


def test_every_plan_has_its_other_end_and_its_draws(drawn: list[Any]) -> None:
    found = arms_of(recipe_of_two(), SHAPE, ranked())
    assert [(a.arm, a.kind, a.of, a.match, a.draw) for a in found] == [
        ("base", "base", None, None, None),
        ("P01", "plan", None, None, None),
        ("P01.bottom", "bottom", "P01", None, None),
        ("P01.count.0", "random", "P01", "count", 0),
        ("P01.layer.0", "random", "P01", "layer", 0),
        ("P01.usage.0", "random", "P01", "usage", 0),
        ("P01.usage.1", "random", "P01", "usage", 1),
        ("P02", "explicit", None, None, None),
        ("P02.count.0", "random", "P02", "count", 0),
        ("P02.layer.0", "random", "P02", "layer", 0),
        ("P02.usage.0", "random", "P02", "usage", 0),
        ("P02.usage.1", "random", "P02", "usage", 1),
    ]
    own = str(found[1].edits())
    assert drawn == [
        (own, "count", None, 3000), (own, "layer", None, 3000), (own, "usage", "dogs", 3000), (own, "usage", "dogs", 3001),
        ("mute L1E1", "count", None, 3000), ("mute L1E1", "layer", None, 3000), ("mute L1E1", "usage", "cats", 3000),
        ("mute L1E1", "usage", "cats", 3001),
    ]  # fmt: skip


@pytest.mark.usefixtures("drawn")
def test_arms_hold_the_experts_of_their_ranking() -> None:
    by_arm = {a.arm: a for a in arms_of(recipe_of_two(), SHAPE, ranked())}
    plan, end, explicit = by_arm["P01"], by_arm["P01.bottom"], by_arm["P02"]
    assert plan.edits() == Plan.off("L1E0, L1E1", phase="generated").for_model(SHAPE)
    assert (plan.experts, plan.super_experts, plan.reason) == (("L1E0", "L1E1"), ("L1E1",), None)
    assert [getattr(plan, k) for k in ("ranking", "end", "edit", "value", "n", "phase")] == [
        "dogs",
        "top",
        "off",
        None,
        2,
        "generated",
    ]
    assert (end.plan, end.experts, end.super_experts) == (
        str(Plan.off("L1E5, L1E4", phase="generated")),
        end.experts,
        (),
    )
    assert set(end.experts) == {"L1E5", "L1E4"}  # the last that were selected and have a score
    assert (explicit.plan, explicit.n, explicit.name, explicit.super_experts) == ("mute L1E1", 1, "one", ("L1E1",))
    assert (by_arm["base"].plan, by_arm["base"].edits()) == (None, Plan())


@pytest.mark.usefixtures("drawn")
def test_arms_are_rows_and_back_and_are_planned_before_they_have_experts() -> None:
    made = recipe_of_two()
    found = arms_of(made, SHAPE, ranked())
    plan = found[1]
    assert from_rows(to_rows(found)) == found
    assert to_rows(found)[1]["experts"] == ["L1E0", "L1E1"]
    assert (
        empty_arms(made)[1]._replace(
            plan=plan.plan, experts=plan.experts, super_experts=plan.super_experts, json=plan.json
        )
        == plan
    )


def test_the_other_end_of_the_bottom_is_the_top_and_parts_join() -> None:
    parts = [{"edit": "force", "n": 1}, {"edit": "scale", "value": 2, "end": "bottom"}]
    made = recipe_with({"ranking": "cats", "n": 2, "edit": "off", "end": "bottom"}, {"ranking": "cats", "n": 1, "parts": parts},
                       controls={"count": 0, "layer": 0, "usage": 0})  # fmt: skip
    found = {a.arm: a.plan for a in arms_of(made, SHAPE, ranked())}
    assert found["P01"] == str(Plan.off("L2E0, L1E5"))  # the most negative first
    assert found["P01.bottom"] == str(Plan.off("L1E0, L1E1"))
    assert found["P02"] == str(Plan.force("L1E0") | Plan.scale("L2E0", 2.0))
    assert found["P02.bottom"] == str(Plan.force("L1E5") | Plan.scale("L1E0", 2.0))


def test_super_experts_can_be_passed_over() -> None:
    made = recipe_with(
        {"ranking": "cats", "n": 2, "edit": "off"},
        controls={"super_experts": "exclude", "count": 0, "layer": 0, "usage": 0},
    )
    assert arms_of(made, SHAPE, ranked())[1].experts == ("L1E0", "L1E2")
    shared = Ranked.of({"cats": ranking(is_shared=True)}, {}, {})
    flagged = {str(e) for e in shared.supers}
    assert flagged == {"L1S1"}


def test_what_cannot_be_run_has_its_reason() -> None:
    made = recipe_with(
        {"ranking": "cats", "n": [3, 7], "edit": "off", "end": "bottom"},
        {"text": "off L9E0"},
        controls={"layer": 0, "usage": 0},
    )
    reasons = {a.arm: a.reason for a in arms_of(made, SHAPE, ranked())}
    assert reasons["base"] is None
    assert reasons["P01"] is None
    assert "Only 4 of 8 experts have a ftri score below zero, and 7 were asked for" in reasons["P02"]
    assert reasons["P02.bottom"] == reasons["P02.count.0"] == "P02 cannot be run, so it needs no control."
    assert reasons["P03"] == "Layer 9 does not exist: synthetic has layers 0-2."
    few = recipe_with({"ranking": "cats", "n": 3, "edit": "off"}, controls={"count": 0, "layer": 0, "usage": 0})
    two = ranking()
    two.frame["n"] = [9, 9, 0, 0, 0, 0, 0, 0]
    ends = {a.arm: a.reason for a in arms_of(few, SHAPE, Ranked.of({"cats": two}, {}, {}))}
    assert ends["P01.bottom"] == "Only 2 experts were selected at all, and 3 were asked for."
    failed = {a.arm: a.reason for a in arms_of(few, SHAPE, ranked(cats="no such label."))}
    assert failed["P01"] == "The ranking 'cats' could not be made: no such label."
    with pytest.raises(WorkbenchError) as error:
        Ranked.of({}, {}, {}).loads_for(None)
    assert str(error.value) == "There is no ranking, so no store says how much each expert is used."
