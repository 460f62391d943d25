"""What a recipe will do, in numbers: every arm, every unit and every token of a small one, counted here by hand."""

import time
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import torch
from workbench_app.experiments.engine import (
    Arm,
    Piece,
    arms_of,
    lowered,
    outcomes,
    pieces,
    plan_model,
    planned_cost,
    planning,
    token_counts,
    unit_cost,
    units_of,
)
from workbench_app.experiments.engine.arms import Ranked, empty_arms, from_rows, to_rows
from workbench_app.experiments.engine.planning import Speed, cost
from workbench_app.experiments.engine.units import Unit
from workbench_app.experiments.recipe import Claim, Recipe, cells, chosen, recipe_from

from probes.ranking import ExpertScores
from tests.support.recipes import make_recipe, recipe_data
from tests.support.stores import anatomy
from workbench import ExpertRef, Plan, PromptSet, WorkbenchError
from workbench.backends import Capabilities
from workbench.prompts import Prompt

SHAPE = anatomy(n_experts=8)  # layer 0 dense, 1 and 2 select 2 of 8 experts
LENGTHS = {"ranked": 100, "held": 200, "other": 50, "given": 30}
CHOICES = {"choices": '["a", "b", "c"]'}


def sets_of(**choices: str) -> dict[str, PromptSet]:
    """As many prompts as the small recipe's sets hold."""
    sizes = {"ranked": 8, "held": 12, "other": 5, "given": 4}
    return {
        name: PromptSet(tuple(Prompt(f"{name}{i}", text="x", labels=dict(choices)) for i in range(n)), name)
        for name, n in sizes.items()
    }


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    return make_recipe(tmp_path_factory.mktemp("prompts"))


def changed(recipe: Recipe, section: str, **changes: Any) -> Recipe:
    return recipe.model_copy(update={section: getattr(recipe, section).model_copy(update=changes)})


# ---- tokens


@pytest.mark.parametrize(
    ("prompts", "what", "arms", "tokens"),
    [
        ("held", "answers", 1, 200 + 12 * 4),
        ("held", "answers", 3, 3 * 248),
        ("held", "distributions", 1, 2 * 248),  # the bare model beside it
        ("held", "distributions", 3, 4 * 248),
        ("other", "answers", 1, 50 + 5 * 3),
        ("other", "choice", 2, 3 * 50 * 3),  # three choices
        ("given", "perplexity", 5, 6 * 30),
        ("given", "sinks", 5, 5 * 30),
    ],
)
def test_what_a_unit_costs(recipe: Recipe, prompts: str, what: str, arms: int, tokens: int) -> None:
    sets = sets_of(**CHOICES)
    assert cost(recipe, sets, LENGTHS, prompts, what, arms) == tokens
    assert unit_cost(recipe, sets, LENGTHS, Unit(prompts, what, (Arm("x", "plan"),) * arms, "")) == tokens


@pytest.mark.parametrize("choices", [{}, {"choices": "no JSON"}, {"choices": "3"}, {"choices": '["a"]'}])
def test_two_choices_are_the_least(recipe: Recipe, choices: dict[str, str]) -> None:
    assert cost(recipe, sets_of(**choices), LENGTHS, "other", "choice", 1) == 2 * 50 * 2


# arms: base; four plans, each with its other end and 3 + 2 + 2 draws; one explicit plan with 7: 1 + 4 * 9 + 8 = 45.
# on the capability set one draw of each kind: base, 4 plans and ends, 1 explicit, 5 * 3 draws: 25
ANSWERED = 45 * 248 + 25 * 65
READ = 45 * 496 + 10 * 130 + 25 * 200 + 45 * 60 + 45 * 30  # 10: distributions on the capability set, of no random draw


def test_a_whole_recipe_is_counted_before_it_runs(recipe: Recipe) -> None:
    assert planned_cost(recipe, sets_of(), LENGTHS) == ANSWERED + READ + 100
    several = changed(recipe, "capture", generate=5, samples=3)
    assert planned_cost(several, sets_of(), LENGTHS) == ANSWERED + READ + 3 * (
        100 + 8 * 4
    )  # the last token is never read
    one = changed(recipe, "capture", generate=1)
    assert planned_cost(one, sets_of(), LENGTHS) == ANSWERED + READ + 100


def fake_model(**cannot: Any) -> Any:
    facts = SimpleNamespace(generation_config=SimpleNamespace(eos_token_id=7), config=None, anatomy=SHAPE)
    backend = SimpleNamespace(can=Capabilities("e", **cannot), facts=facts)
    return SimpleNamespace(
        anatomy=SHAPE, dtype=torch.bfloat16, device=torch.device("cpu"), facts=facts, tokenizer=None, local=None, hf=None,
        engine=lambda _: backend,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("cannot", "part"),
    [
        (
            {"scoring": False},
            "cannot score given text, which measure.distributions (or a metric kl or kl_first) needs on",
        ),
        ({"keep": frozenset({"norms"})}, "cannot record residual on"),
        ({"keep": None}, "cannot record which experts are selected on"),
    ],
)
def test_what_the_engine_cannot_is_refused_first(recipe: Recipe, cannot: dict[str, Any], part: str) -> None:
    with pytest.raises(WorkbenchError, match=r"^The engine 'e' ") as caught:
        plan_model(recipe, sets_of(), fake_model(**cannot), "s")
    assert part in str(caught.value)


def test_the_plan_of_a_model(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "token_counts", lambda *_: LENGTHS)
    monkeypatch.setattr(planning, "_measured", lambda *_: Speed(100.04, 200.0))
    found = plan_model(recipe, sets_of(), fake_model(), "the/source")
    # 4 slots of 14 bytes, 4 states of 16, 4 for the token: 124 bytes a token
    assert found.to_dict() == {
        "model": "the/source", "fingerprint": SHAPE.fingerprint, "dtype": "bfloat16", "device": "cpu",
        "shape": "16 routed experts in 2 layers, 2 of a layer selected for each token",
        "arms": {"base": 1, "plan": 4, "bottom": 4, "random": 35, "explicit": 1},
        "pieces": {"answers": 70, "distributions": 55, "choice": 25, "perplexity": 45, "sinks": 45},
        "answers": 45 * 12 + 25 * 5, "tokens": ANSWERED + READ, "captured_tokens": 100, "store_bytes": 12_400,
        "answer_bytes": 16 * (45 * 12 * 4 + 25 * 5 * 3), "tokens_per_second": 100.0, "read_tokens_per_second": 200.0,
        "seconds": round(ANSWERED / 100.04 + READ / 200 + 100 / 200, 1), "decoding": {"stop": [7]},
    }  # fmt: skip
    generating = changed(recipe, "capture", generate=3, samples=2)
    found = plan_model(generating, sets_of(), fake_model(), "s")
    assert found.captured_tokens == 2 * (100 + 8 * 2)
    assert found.seconds == round(ANSWERED / 100.04 + READ / 200 + 232 / 100.04, 1)
    only = recipe.model_copy(update={"prompts": {k: v for k, v in recipe.prompts.items() if k in ("ranked", "given")}})
    assert plan_model(only, sets_of(), fake_model(), "s").decoding is None


def test_prompts_have_to_fit_with_their_answers_where_they_are_answered(recipe: Recipe, monkeypatch) -> None:
    rooms: dict[str, int] = {}

    def encode(_: Any, prompts: PromptSet, room: int) -> list[tuple[int, ...]]:
        rooms[str(prompts.source)] = room
        return [(1, 2, 3)] * len(prompts)

    monkeypatch.setattr(planning, "encode_all", encode)
    assert token_counts(changed(recipe, "capture", generate=9), sets_of(), fake_model()) == {
        "ranked": 24, "held": 36, "other": 15, "given": 12,
    }  # fmt: skip
    assert rooms == {"ranked": 9, "held": 4, "other": 3, "given": 0}


@pytest.mark.parametrize(("n", "rows", "most", "tokens"), [(12, 12, 4, 4), (100, 64, 48, 8)])
def test_the_speed_is_that_of_one_small_batch(
    recipe: Recipe, monkeypatch, n: int, rows: int, most: int, tokens: int
) -> None:
    asked: list[Any] = []
    held = recipe.prompts["held"].model_copy(update={"max_new_tokens": most})
    other = recipe.prompts["other"].model_copy(update={"max_new_tokens": 2})
    given = recipe.prompts["given"].model_copy(update={"max_new_tokens": 900})  # nothing is answered there
    timed = recipe.model_copy(update={"prompts": {**recipe.prompts, "held": held, "other": other, "given": given}})

    def answer(_: Any, encoded: Any, plan: Plan, most: int, batch: int) -> Any:
        asked.append((len(encoded), str(plan), most, batch))
        return SimpleNamespace(ids=[(1, 2, 3), *[(1,)] * (len(encoded) - 1)])

    def read(_: Any, encoded: Any, answers: Any, plans: Any, batch: int) -> None:
        asked.append((len(encoded), [len(a) for a in answers], list(map(str, plans)), batch))

    clock = iter((10.0, 12.0, 15.0, 10.0, 12.0))
    monkeypatch.setattr(planning, "answer", answer)
    monkeypatch.setattr(planning, "divergence", read)
    monkeypatch.setattr(
        planning, "encode_all", lambda _, prompts, room: [(1,) * 5] * len(prompts) if not room else None
    )
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    sets = sets_of() | {"held": PromptSet(tuple(Prompt(f"h{i}", text="x") for i in range(n)), "held")}
    found = planning._measured(timed, sets, fake_model())
    assert asked == [(1, "off L1E0", 1, 4096), (rows, "off L1E0", tokens, 4096), (rows, [0] * rows, ["off L1E0"], 4096)]
    assert found == Speed((5 * rows + 3 * rows) / 2, 2 * 5 * rows / 3)
    alone = planning._measured(timed, sets, fake_model(scoring=False))  # nothing is read there
    assert alone == Speed((5 * rows + 3 * rows) / 2, (5 * rows + 3 * rows) / 2)


def test_the_small_plan_is_what_the_model_can_do() -> None:
    from dataclasses import replace

    def refusing(*kinds: str) -> Any:
        layers = tuple(replace(x, refused=dict.fromkeys(kinds, "cannot")) if x.is_moe else x for x in SHAPE.layers)
        return SimpleNamespace(anatomy=replace(SHAPE, layers=layers))

    assert [str(planning._small_plan(refusing(*kinds))) for kinds in ((), ("off",), ("off", "mute"))] == [
        "off L1E0", "mute L1E0", str(Plan()),
    ]  # fmt: skip


def test_less_than_the_default_is_said_in_these_sentences(recipe: Recipe) -> None:
    chance = "fewer than 10: a plan that beats them all may do so by chance."
    little = {"count": 9, "layer": 10, "usage": 0, "bottom": False, "capability_draws": 2}
    few = changed(changed(recipe, "controls", **little), "statistics", correction="none")
    few = few.model_copy(update={"prompts": {k: v for k, v in few.prompts.items() if v.role != "capability"}})
    assert lowered(few) == [
        f"The recipe asks for 9 random draws matched by count, {chance}",
        f"The recipe asks for 0 random draws matched by usage, {chance}",
        "The recipe leaves out the control with the ranking's other end.",
        "The recipe measures 2 random draws of each kind on capability sets, fewer than 3.",
        "The recipe corrects no p-value for the number of plans: p_adjusted is p.",
        "The recipe has no capability set: what else the plans change is not measured.",
    ]
    enough = changed(recipe, "controls", count=10, layer=11, usage=10, capability_draws=3)
    assert lowered(enough) == []


# ---- the grid


def test_cells_are_numbered_in_the_order_of_the_recipe() -> None:
    plans = [
        {"ranking": "cats", "n": [1, 2], "edit": ["scale", "replace", "off"], "value": [2, 0.5, "mean"],
         "end": ["top", "bottom"]},
        {"text": "off L1E1", "name": "one", "prompts": "held"},
        {"ranking": "cats", "n": 3, "parts": [{"edit": "scale", "value": 64}, {"edit": "force", "end": "bottom", "n": 1}],
         "phase": "prompt", "span": ["<a>", "</a>"]},
    ]  # fmt: skip
    found = cells(recipe_from(recipe_data(plans=plans, capture={"keep": ["outputs"]})))
    crossed = [
        (end, edit, value, n)
        for end in ("top", "bottom")
        for edit, values in (("scale", ("2", "0.5")), ("replace", ("mean",)), ("off", (None,)))
        for value in values
        for n in (1, 2)
    ]
    assert [(c.end, c.edit, c.value, c.n) for c in found[:16]] == crossed
    assert [c.arm for c in found] == [f"P{i:02}" for i in range(1, 19)]
    assert found[16] == ("P17", "one", None, (), "all", None, "off L1E1", ("held",))
    assert (found[16].end, found[16].edit, found[16].value, found[16].n) == (None, None, None, None)
    last = found[17]
    assert (last.end, last.edit, last.value, last.n) == ("top+bottom", "scale+force", "64", 4)
    assert (last.phase, last.span, last.ranking, last.text, last.prompts) == (
        "prompt",
        ("<a>", "</a>"),
        "cats",
        None,
        (),
    )
    many = recipe_from(recipe_data(plans=[{"text": f"off L1E{i}"} for i in range(100)]))
    assert [c.arm for c in cells(many)][::99] == ["P001", "P100"]


def test_a_claim_is_about_the_cells_that_all_of_its_keys_fit() -> None:
    plans = [{"ranking": "cats", "n": [1, 2], "edit": ["scale"], "value": [2, 4], "phase": ["all", "prompt"]}]
    made = recipe_from(recipe_data(plans=plans))
    about = {"name": "c", "text": "t", "prompts": "held", "metric": "length", "direction": "down"}
    for keys, arms in (
        ({}, 8), ({"n": 2}, 4), ({"n": 2, "value": 4.0}, 2), ({"n": 2, "value": 4.0, "phase": "prompt"}, 1),
        ({"end": "bottom"}, 0),
        ({"edit": "off"}, 0), ({"ranking": "dogs"}, 0), ({"plan": "x"}, 0),
    ):  # fmt: skip
        assert len(chosen(made, Claim(**about, **keys))) == arms, keys
    (one,) = chosen(made, Claim(**about, n=2, value=4.0, phase="prompt"))
    assert (one.n, one.value, one.phase) == (2, "4", "prompt")


# ---- arms


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


def test_arms_hold_the_experts_of_their_ranking(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Any] = []

    def random_like(plan: Plan, shape: Any, match: str, loads: Any, seed: int) -> Plan:
        drawn.append((str(plan), match, None if loads is None else loads["is"].item(), seed))
        return Plan.off([ExpertRef(2, 5)])

    monkeypatch.setattr(Plan, "random_like", random_like)
    made = recipe_with(
        {"ranking": "dogs", "n": 2, "edit": "off", "phase": "generated"}, {"text": "mute L1E1", "name": "one"}, seed=3
    )
    found = arms_of(made, SHAPE, ranked())
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
    by_arm = {a.arm: a for a in found}
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
    own = str(plan.edits())
    assert drawn == [
        (own, "count", None, 3000), (own, "layer", None, 3000), (own, "usage", "dogs", 3000), (own, "usage", "dogs", 3001),
        ("mute L1E1", "count", None, 3000), ("mute L1E1", "layer", None, 3000), ("mute L1E1", "usage", "cats", 3000),
        ("mute L1E1", "usage", "cats", 3001),
    ]  # fmt: skip
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


# ---- units


def unit_arms() -> tuple[Arm, ...]:
    return (
        Arm("base", "base"),
        Arm("P01", "plan", json="A"),
        Arm("P01.count.0", "random", of="P01", match="count", draw=0, json="A"),
        Arm("P01.count.1", "random", of="P01", match="count", draw=1, json="B"),
        Arm("P02", "plan", reason="cannot"),
        Arm("P03", "explicit", json="B"),
    )


def test_every_arm_is_measured_as_its_prompts_ask(recipe: Recipe) -> None:
    planned = [(p.prompts, p.what, p.arm.arm) for p in pieces(recipe, unit_arms())]
    held = [("held", what, arm.arm) for arm in unit_arms() for what in ("answers", "distributions")]
    other = [
        ("other", what, arm)
        for arm, kinds in (("base", "adc"), ("P01", "adc"), ("P01.count.0", "ac"), ("P02", "adc"), ("P03", "adc"))
        for what in ("answers", "distributions", "choice")
        if what[0] in kinds
    ]
    given = [("given", what, arm.arm) for arm in unit_arms() for what in ("perplexity", "sinks")]
    assert planned == held + other + given
    without = changed(recipe, "measure", distributions=False)
    assert not [p for p in pieces(without, unit_arms()) if (p.prompts, p.what) == ("other", "distributions")]
    kl = recipe.prompts["held"].model_copy(update={"metrics": ("kl_first",)})
    alone = recipe.model_copy(update={"prompts": {**recipe.prompts, "held": kl}})
    found = [(p.what, p.arm.arm) for p in pieces(alone, unit_arms()) if p.prompts == "held"]
    assert found == [
        ("answers", "base"),
        *(("distributions", arm.arm) for arm in unit_arms()),
    ]  # over the base's answers


def test_equal_plans_are_run_once_and_the_others_share(recipe: Recipe) -> None:
    planned = [Piece("held", what, arm) for arm in unit_arms() for what in ("answers", "distributions")]
    base, p1, _, random, _, _ = unit_arms()
    assert units_of(recipe, 3, planned) == [
        *(Unit("held", "answers", (arm,), f"units/03-01-answers-{arm.arm}.parquet") for arm in (base, p1, random)),
        Unit("held", "distributions", (base, p1, random), "units/03-01-distributions-base.parquet"),
    ]
    rows = {(r["arm"], r["what"]): (r["prompts"], r["outcome"], r["shared_with"]) for r in outcomes(planned)}
    for what in ("answers", "distributions"):
        assert {arm: row for (arm, kind), row in rows.items() if kind == what} == {
            "base": ("held", "run", None), "P01": ("held", "run", None), "P01.count.0": ("held", "shared", "P01"),
            "P01.count.1": ("held", "run", None), "P02": ("held", "impossible", None), "P03": ("held", "shared", "P01.count.1"),
        }  # fmt: skip


def test_sixteen_arms_are_read_together(recipe: Recipe) -> None:
    arms = tuple(Arm(f"P{i:02}", "explicit", json=str(i)) for i in range(33))
    for what, sizes in (("perplexity", [16, 16, 1]), ("choice", [16, 16, 1]), ("sinks", [1] * 33)):
        found = units_of(recipe, 0, [Piece("given", what, arm) for arm in arms])
        assert [len(unit.arms) for unit in found] == sizes
        assert tuple(arm for unit in found for arm in unit.arms) == arms
        assert [unit.path for unit in found] == [f"units/00-03-{what}-{unit.arms[0].arm}.parquet" for unit in found]
