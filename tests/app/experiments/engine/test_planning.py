"""What a recipe will cost: every unit and every token of a small one, counted by hand, and the speed of a batch."""

import time
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from workbench_app.experiments.engine import Arm, lowered, plan_model, planned_cost, planning, token_counts, unit_cost
from workbench_app.experiments.engine.planning import Speed, cost
from workbench_app.experiments.engine.units import Unit
from workbench_app.experiments.recipe import Recipe

from tests.app.experiments.engine.small import CHOICES, LENGTHS, SHAPE, changed, sets_of
from workbench import Plan, PromptSet, WorkbenchError
from workbench.backends import Capabilities
from workbench.prompts import Prompt


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
        ({"keep": None}, "cannot record which experts are selected on"),
    ],
)
def test_what_the_engine_cannot_is_refused_first(recipe: Recipe, cannot: dict[str, Any], part: str) -> None:
    with pytest.raises(WorkbenchError, match=r"^The engine 'e' ") as caught:
        plan_model(recipe, sets_of(), fake_model(**cannot), "s")
    assert part in str(caught.value)


def test_the_plan_of_a_model(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "token_counts", lambda *_: LENGTHS)
    monkeypatch.setattr(planning, "measured_speed", lambda *_: Speed(100.04, 200.0))
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
        "sizes": None, "frees": None,
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
    found = planning.measured_speed(timed, sets, fake_model())
    assert asked == [(1, "off L1E0", 1, 4096), (rows, "off L1E0", tokens, 4096), (rows, [0] * rows, ["off L1E0"], 4096)]
    assert found == Speed((5 * rows + 3 * rows) / 2, 2 * 5 * rows / 3)
    alone = planning.measured_speed(timed, sets, fake_model(scoring=False))  # nothing is read there
    assert alone == Speed((5 * rows + 3 * rows) / 2, (5 * rows + 3 * rows) / 2)


def test_the_small_plan_is_what_the_model_can_do() -> None:
    from dataclasses import replace

    def refusing(*kinds: str) -> Any:
        layers = tuple(replace(x, refused=dict.fromkeys(kinds, "cannot")) if x.is_moe else x for x in SHAPE.layers)
        return SimpleNamespace(anatomy=replace(SHAPE, layers=layers))

    assert [str(planning.small_plan(refusing(*kinds))) for kinds in ((), ("off",), ("off", "mute"))] == [
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
