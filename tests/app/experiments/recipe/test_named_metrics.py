"""A recipe's own metrics, sets that plans are chosen on, and prompts that are kept although a ranking has seen them."""

from pathlib import Path
from typing import Any

import pytest
from workbench_app.experiments.engine import pieces
from workbench_app.experiments.engine.arms import empty_arms
from workbench_app.experiments.recipe import (
    answer_metrics,
    called,
    generated,
    ranked_on,
    read_sets,
    recipe_from,
    role_of,
)
from workbench_app.experiments.recipe.consistency import check_recipe

from tests.support.recipes import recipe_data, write_prompts
from workbench import WorkbenchError
from workbench.responses import Response

PLAN = {"ranking": "cats", "n": 1, "edit": "off"}
CHOSEN = {"claim": "c", "prompts": "again", "metric": "length"}
CLAIM = {
    "name": "c",
    "text": "t",
    "prompts": "held",
    "metric": "length",
    "ranking": "cats",
    "edit": "off",
    "n": 1,
    "direction": "down",
}


def changed(**tables: Any) -> dict[str, Any]:
    """The small recipe with a set that plans are chosen on, a claim, and more keys of its tables."""
    data = recipe_data(claims=[CLAIM], choice=CHOSEN)
    data["prompts"]["again"] = {"source": "ranked.jsonl", "role": "choosing", "metrics": ["length"]}
    for place, value in tables.items():
        section, _, key = place.partition("__")
        if key:
            data[section][key] = {**data[section].get(key, {}), **value}
        else:
            data[section] = value
    return data


def values(spec: dict[str, Any], *responses: Response) -> list[float | bool | None]:
    """What the recipe's own metric says of responses."""
    data = changed(metrics={"mine": spec}, prompts__held={"metrics": ["mine"]})
    data["claims"][0]["metric"] = "mine"
    (metric,) = answer_metrics(recipe_from(data))["held"]
    assert metric.name == "mine"
    return [metric.function(response) for response in responses]


def said(text: str, **labels: str) -> Response:
    return Response(text, labels=labels)


def test_another_metric_on_some_prompts_leaves_the_others_out() -> None:
    refusal, other = "I cannot talk about that.", "It was a flood."
    spec = {"metric": "refused", "labels": {"kind": ["cat", "cow"]}}
    asked = [said(refusal, kind="cat"), said(other, kind="cow"), said(refusal, kind="dog"), said(refusal)]
    assert values(spec, *asked) == [True, False, None, None]


def test_what_has_no_value_counts_as_what_the_recipe_says() -> None:
    endless = said("<think>never ends", kind="cat")
    assert values({"metric": "refused"}, endless) == [None]
    spec = {"metric": "refused", "otherwise": 0.0, "labels": {"kind": "cat"}}
    assert values(spec, endless, said("<think>never ends", kind="dog")) == [0.0, None]


def test_a_pattern_takes_the_words_of_labels_as_they_are() -> None:
    spec = {"pattern": r"\A{hero} (?:ran|sat){1}\Z"}
    told = [said("a.b ran", hero="a.b"), said("axb ran", hero="a.b"), said("a.b ran home", hero="a.b"), said("a.b ran")]
    assert values(spec, *told) == [True, False, False, None]
    assert values({"pattern": "one.two"}, said("zero one\ntwo"), said("<think>one two</think>three")) == [True, False]


def test_a_function_of_ones_own_can_be_named() -> None:
    assert values({"metric": "tests.support.recipes:vowels", "labels": {"kind": "cat"}}, said("ab", kind="cat")) == [
        0.5
    ]


def test_a_metrics_own_role_goes_before_that_of_its_set() -> None:
    data = changed(metrics={"mine": {"metric": "exact", "role": "capability"}})
    data["prompts"]["held"]["metrics"] += ["mine"]
    data["prompts"]["again"]["metrics"] += ["mine"]
    recipe = recipe_from(data)
    roles = [
        role_of(recipe, *which)
        for which in (("held", "mine"), ("held", "length"), ("other", "length"), ("again", "mine"))
    ]
    assert roles == ["capability", "target", "capability", "choosing"]
    assert (called("held", "mine"), called("held", "exact")) == ("mine", "held (exactly right answers)")


@pytest.mark.parametrize(
    ("tables", "sentence"),
    [
        ({"metrics": {"refused": {"metric": "exact"}}}, "'metrics.refused' has a name that means something already; give "),
        ({"metrics": {"a:b": {"metric": "exact"}}}, "'metrics.a:b' has a name that means something already"),
        ({"metrics": {"mine": {}}}, "'metrics.mine.metric' and pattern say what is counted; give exactly one of them."),
        ({"metrics": {"mine": {"metric": "exact", "pattern": "x"}}}, "'metrics.mine.metric' and pattern say what is counted"),
        ({"metrics": {"mine": {"metric": "exct"}}}, "'metrics.mine.metric' names the metric 'exct', which does not exist"),
        ({"metrics": {"mine": {"metric": "thinking_length"}}},
         "'metrics.mine.metric' is measured in words, and a recipe's own are shares; name it in prompts.*.metrics."),
        ({"metrics": {"mine": {"pattern": "(a"}}}, "'metrics.mine.pattern' is no regular expression ("),
        ({"prompts__held": {"generate": 3}}, "'prompts.held.generate' is of ranking sets, and this one is measured; give "),
        ({"choice": CHOSEN | {"claim": "d"}}, "'choice.claim' names the claim 'd', which does not exist; there is c"),
        ({"choice": CHOSEN | {"prompts": "held"}},
         "'choice.prompts' names the prompt set of role choosing 'held', which does not exist; there is again"),
        ({"choice": CHOSEN | {"metric": "kl"}}, "'choice.metric' names the metric of 'again' 'kl', which does not exist"),
        ({"claims": [CLAIM | {"prompts": "again"}]}, "'claims[0].prompts' names the measured prompt set 'again', which "),
        ({"prompts": {"ranked": {"source": "r", "role": "ranking"},
                      "again": {"source": "r", "role": "choosing", "metrics": "exact"}}},
         "'prompts' has no set to measure on; give one of role target."),
        ({"plans": [PLAN | {"prompts": "hold"}]},
         "'plans[0].prompts[0]' names the measured prompt set 'hold', which does not exist; there is held, other, given, again"),
        ({"plans": [PLAN | {"prompts": ["other", "again"]}]},
         "'claims[0].prompts' is 'held', and its plan is measured on other, again alone; add the set to the plan's prompts."),
        ({"capture": {"responses": True}, "prompts__ranked": {"generate": 2}},
         "'capture.generate' goes with given responses, and a capture does one of the two; drop one."),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence(tables: dict[str, Any], sentence: str) -> None:
    with pytest.raises(WorkbenchError) as error:
        recipe_from(changed(**tables), "w")
    assert str(error.value).startswith(f"w: {sentence}")


def test_a_metric_that_is_about_no_prompt_is_refused_before_the_run(tmp_path: Path) -> None:
    write_prompts(tmp_path)
    for spec, sentence in (
        ({"metric": "exact", "labels": {"kind": "cow"}},
         "'prompts.held.metrics' has 'mine', and none of its 12 prompts has the labels that 'metrics.mine.labels' asks for"),
        ({"pattern": "{hero}", "labels": {"kind": "cat"}},
         "'prompts.held.metrics' has 'mine', which reads the label 'hero', and none of its 6 prompts carries that label"),
        ({"metric": "faithful"}, "'prompts.held.metrics' has 'mine', which reads the label 'context', and none of its 12 "),
    ):  # fmt: skip
        data = changed(metrics={"mine": spec}, claims=[], prompts__held={"metrics": ["mine"]})
        del data["choice"]
        with pytest.raises(WorkbenchError) as error:
            read_sets(recipe_from(data, folder=tmp_path))
        assert str(error.value).startswith(sentence)


def test_a_set_that_plans_are_chosen_on_may_be_the_ranking_set_and_has_no_controls(tmp_path: Path) -> None:
    write_prompts(tmp_path)
    recipe = recipe_from(changed(), folder=tmp_path)
    check_recipe(recipe, "w")
    sets = read_sets(recipe)
    assert len(sets["again"]) == len(sets["ranked"]) == 8
    assert ranked_on(recipe, sets, "again") == []
    planned = [piece for piece in pieces(recipe, empty_arms(recipe)) if piece.prompts == "again"]
    assert {piece.what for piece in planned} == {
        "answers"
    }  # how far distributions move is told of what claims are about
    arms = [arm.arm for arm in empty_arms(recipe) if arm.of is None]
    assert [piece.arm.arm for piece in planned] == arms


def test_a_plan_and_its_controls_are_measured_where_that_is_said(tmp_path: Path) -> None:
    data = changed()
    data["plans"].append({"ranking": "cats", "n": 2, "edit": "off", "prompts": ["held"]})
    recipe = recipe_from(data, folder=tmp_path)
    planned = pieces(recipe, empty_arms(recipe))
    last = max(p.arm.of or p.arm.arm for p in planned if p.arm.arm != "base")
    mine = [p for p in planned if last in (p.arm.of, p.arm.arm)]
    assert {p.prompts for p in mine} == {"held"}
    assert {p.arm.kind for p in mine} == {"plan", "bottom", "random"}
    assert {p.prompts for p in planned if p.arm.arm == "P01"} == {"held", "other", "given", "again"}


def test_prompts_that_a_ranking_has_seen_are_kept_where_that_is_asked_for(tmp_path: Path) -> None:
    write_prompts(tmp_path)
    line = (tmp_path / "ranked.jsonl").read_text().splitlines()[3]
    with (tmp_path / "other.jsonl").open("a") as file:
        file.write("\n" + line.replace("ranked-3", "own-id"))
    recipe = recipe_from(changed(prompts__other={"unseen": "keep"}), folder=tmp_path)
    sets = read_sets(recipe)
    assert [p.id for p in sets["other"]] == [*(f"other-{i}" for i in range(5)), "own-id"]
    assert [p.id for p in ranked_on(recipe, sets, "other")] == ["own-id"]
    with pytest.raises(WorkbenchError, match=r"'prompts.other.unseen' is 'no'"):
        recipe_from(changed(prompts__other={"unseen": "no"}))


def test_a_ranking_set_generates_what_it_says_or_what_the_capture_says() -> None:
    recipe = recipe_from(changed(capture={"generate": 7}, prompts__ranked={"generate": 0}))
    assert generated(recipe, "ranked") == 0
    assert generated(recipe_from(changed(capture={"generate": 7})), "ranked") == 7
