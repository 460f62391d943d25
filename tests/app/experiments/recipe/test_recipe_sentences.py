"""Every refusal of a recipe with its whole sentence, and nothing refused that is sound."""

from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError
from workbench_app.experiments.recipe import Recipe, consistency, find_recipe, read_recipe, recipe_from
from workbench_app.experiments.recipe.mistakes import place_of, sentence

from probes.catalogue import ASKED, RANKERS
from tests.app.experiments.recipe.test_recipe import CLAIM, put
from tests.support.recipes import recipe_data
from workbench import WorkbenchError

PART = {"edit": "off"}
RANKED = {"ranking": "cats", "n": 1}


def refusal(data: dict[str, Any]) -> str:
    with pytest.raises(WorkbenchError) as found:
        recipe_from(data, "my.toml")
    return str(found.value)


SENTENCES = [
    # one key by itself
    ("plans.0.n", ["two"], "'plans[0].n[0]' is 'two'; it should be a whole number."),
    ("plans.0.n", [1.5], "'plans[0].n[0]' is 1.5; it should be a whole number."),
    ("title", 3, "'title' is 3; it should be text."),
    ("controls", 3, "'controls' is 3; it should be a table."),
    ("prompts", 3, "'prompts' is 3; it should be a table."),
    ("plans", 3, "'plans' is 3; it should be a list."),
    ("claims", True, "'claims' is true; it should be a list."),
    ("capture", {"temperature": "hot"}, "'capture.temperature' is 'hot'; it should be a number."),
    ("capture", {"temperature": float("inf")}, "'capture.temperature' is inf; it should be a finite number."),
    ("controls.bottom", "yes", "'controls.bottom' is 'yes'; it should be true or false."),
    ("controls.count", -1, "'controls.count' is -1; it should be greater than or equal to 0."),
    ("prompts.held.role", "targt",
     "'prompts.held.role' is 'targt'; it should be ranking, choosing, target or capability; did you mean 'target'?"),
    ("prompts.held.role", "x", "'prompts.held.role' is 'x'; it should be ranking, choosing, target or capability."),
    ("name", None, "'name' is missing; give it."),
    ("judge", {"model": "m"}, "'judge.address' is missing; give it."),
    ("prompts.held.source", None, "'prompts.held.source' is missing; give it."),
    ("title", ["x" * 56], f"'title' is ['{'x' * 56}']; it should be text."),  # 60 characters are shown
    ("title", ["x" * 57], f"'title' is ['{'x' * 55}...; it should be text."),
    ("judge", {"adress": "x", "model": "m"}, "'judge.adress' is no key of 'judge'; did you mean 'address'? it can hold address, "
     "model, question."),
    ("plans.0.parts", [{"edit": "off", "zzz": 1}],
     "'plans[0].parts[0].zzz' is no key of 'plans[0].parts[0]'; it can hold edit, end, "
     "n, value."),
    ("models", [{"sourc": "demo"}],
     "'models[0].sourc' is no key of 'models[0]'; did you mean 'source'? it can hold source, dtype, "
     "device, device_map, revision, engine."),
    ("claims.0.paper", {"what": "w", "bas": 1.0},
     "'claims[0].paper.bas' is no key of 'claims[0].paper'; did you mean 'base'? it can "
     "hold what, model, base, steered, difference, relative, grade."),
    # what keys say together
    ("models", ["demo", "tiny/olmoe", {"source": "demo", "dtype": "bfloat16"}],
     "'models' names 'demo' 2 times, and tables tell models apart by source; give it a recipe for each."),
    ("prompts", {"ranked": {"source": "ranked.jsonl", "role": "ranking"}},
     "'prompts' has no set to measure on; give one of role target."),
    ("prompts.ranked.metrics", ["length"],
     "'prompts.ranked.metrics' measures prompts that experts are ranked on; give held-out prompts as another set."),
    ("prompts.held.metrics", [],
     "'prompts.held.metrics' is empty, so nothing would be measured there; name a metric, or take the "
     "set out."),
    ("prompts.held.metrics", ["kl", "kl"], "'prompts.held.metrics' uses the name 'kl' 2 times; give each its own."),
    ("prompts.held.metrics", ["length", "judge"],
     "'prompts.held.metrics[1]' asks a judge, and there is no [judge]; give it an address and a model."),
    ("capture", {"responses": True, "generate": 4},
     "'capture.generate' goes with given responses, and a capture does one of the two; drop one."),
    ("capture.samples", 2,
     "'capture.samples' would make the same rows 2 times; give generate and a temperature above 0 as well."),
    ("capture", {"samples": 3, "generate": 2},
     "'capture.samples' would make the same rows 3 times; give generate and a temperature above 0 as well."),
    ("capture", {"samples": 3, "temperature": 1.0},
     "'capture.samples' would make the same rows 3 times; give generate and a temperature above 0 as well."),
    ("judge", {"address": "localhost:8000", "model": "m"},
     "'judge.address' is 'localhost:8000'; it should begin with http:// or https:// and name a host."),
    ("rankings.0.prompts", "zz",
     "'rankings[0].prompts' names the prompt set 'zz', which does not exist; there is ranked, held, other, "
     "given."),
    ("rankings.0.prompts", "held", "'rankings[0].prompts' ranks on 'held', which is measured; rank on a set of role ranking."),
    ("rankings.1", {"name": "cats", "method": "usage", "prompts": "ranked"},
     "'rankings' uses the name 'cats' 2 times; give each its "
     "own."),
    ("rankings.0.options", {"store": 1}, None),
    ("rankings", [], "'plans[0].ranking[0]' names the ranking 'cats', which does not exist; there is none."),
    ("plans.0.ranking", ["cats", "cat"],
     "'plans[0].ranking[1]' names the ranking 'cat', which does not exist; there is cats; did you mean 'cats'?"),
    ("plans.0.ranking", None, "'plans[0]' names no experts; give ranking, n and edit, or an explicit plan as text."),
    ("plans.0.edit", None, "'plans[0].edit' and parts say what happens to the experts; give exactly one of them."),
    ("plans.0.parts", [PART], "'plans[0].edit' and parts say what happens to the experts; give exactly one of them."),
    ("plans.0.n", None, "'plans[0].n' is missing, so it is not known how many experts are meant; give it, as n = [1, 2, 4]."),
    ("plans.2", {"ranking": "cats", "parts": [PART | {"n": 1}, PART]},
     "'plans[2].n' is missing, so it is not known how many experts are meant; give it, as n = [1, 2, 4]."),
    ("plans.2", RANKED | {"parts": [PART], "value": 2}, "'plans[2].value' has no place beside parts; give each part its own."),
    ("plans.2", {"text": "off L0E0", "ranking": "cats", "n": 2},
     "'plans[2].ranking' has no place beside text, which is a whole plan; "
     "take one of them out."),
    ("plans.2", {"text": " "}, "'plans[2].text' names no edit; write it as \"off L2E8; off L2E20\"."),
    ("plans.2", RANKED | {"edit": "scale"}, "'plans[2].value' gives scale no strength; it needs a number."),
    ("plans.2", RANKED | {"edit": "bias", "value": "mean"}, "'plans[2].value' gives bias no strength; it needs a number."),
    ("plans.2", RANKED | {"edit": "replace", "value": 2}, "'plans[2].value' gives replace no strength; it needs \"mean\"."),
    ("plans.2", RANKED | {"parts": [PART, {"edit": "scale"}]},
     "'plans[2].parts[1].value' gives scale no strength; it needs a number."),
    ("plans.2", RANKED | {"parts": [{"edit": "scale", "value": 2}, {"edit": "replace", "value": "mean"}]},
     "'capture.keep' lacks \"outputs\", over which replace takes its mean; add it."),
    ("capture", {"keep": ["norms", "inner:2"]},
     "'capture.keep[1]' is 'inner:2'; it should have a share of the tokens above 0, up to 1, like inner:0.1."),
    ("plans.0.value", [2.0], "'plans[0].value' has no edit that takes a strength; give scale, bias or replace, or take it out."),
    ("plans.2", RANKED | {"parts": [PART, {"edit": "off", "value": 2.0}]},
     "'plans[2].parts[1].value' has no place: off takes no strength."),
    ("plans.2", {"text": "off L0E0", "name": "one"}, "'plans' uses the name 'one' 2 times; give each its own."),
    ("measure.sinks", "zz",
     "'measure.sinks' names the prompt set 'zz', which does not exist; there is ranked, held, other, given."),
    ("measure.perplexity", "ranked",
     "'measure.perplexity' measures on 'ranked', which experts are ranked on; give another set."),
    ("measure.sinks", "ranked", "'measure.sinks' measures on 'ranked', which experts are ranked on; give another set."),
    ("claims.0.prompts", "zz",
     "'claims[0].prompts' names the measured prompt set 'zz', which does not exist; there is held, other, given."),
    ("claims.0.metric", "zz",
     "'claims[0].metric' names the metric of 'held' 'zz', which does not exist; "
     "there is length, tests.support.recipes:vowels, kl."),
    ("claims.0", CLAIM | {"prompts": "given", "metric": "zz"},
     "'claims[0].metric' names the metric of 'given' 'zz', which does not exist; there is nll, sink_share."),
    ("claims.0.ranking", "zz", "'claims[0].ranking' names the ranking 'zz', which does not exist; there is cats."),
    ("claims.0.plan", "zz", "'claims[0].plan' names the plan 'zz', which does not exist; there is one."),
    ("claims.0.n", 4, "'claims[0]' is about 0 plans of this recipe, and should be about one; no such plan is in plans; add it."),
    ("claims.0.n", None,
     "'claims[0]' is about 2 plans of this recipe, and should be about one; name more of ranking, edit, n, value, "
     "end, phase, plan."),
    ("claims.1", CLAIM | {"plan": "one"}, "'claims' uses the name 'c' 2 times; give each its own."),
    ("references", [{"model": "m", "expert": "L0E0", "value": 1.0, "what": "w"},
                    {"model": "m", "expert": "L0E0", "value": 1.0, "what": "w", "ranking": "zz"}],
     "'references[1].ranking' names the ranking 'zz', which does not exist; there is cats."),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value", "said"), SENTENCES, ids=[f"{i}-{m[0]}" for i, m in enumerate(SENTENCES)])
def test_a_refusal_is_this_sentence(path: str, value: Any, said: str | None) -> None:
    found = refusal(put(path, value))
    if said is None:  # what a method has, its own signature says
        assert "'rankings[0].options.store' is no option of ftri; it has target, baseline, " in found
        assert "store," not in found.partition("there is")[2]
    else:
        assert found == f"my.toml: {said}"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("capture", {"samples": 2, "generate": 1, "temperature": 0.5}),
        ("capture", {"samples": 2, "responses": True}),
        ("capture", {"keep": ["outputs"]}),
        ("capture", {"keep": ["outputs:0.1", "inner:.25", "router_input:1", "matrices"]}),
        ("judge", {"address": "https://there/v1", "model": "m"}),
        ("plans.2", {"text": "off L0E*"}),
        ("plans.2", {"text": "of L0E*"}),  # what a star stands for, the model says
        ("plans.2", {"ranking": "cats", "parts": [PART | {"n": 1}, PART | {"n": 2}]}),
        ("plans.2", RANKED | {"parts": [{"edit": "scale", "value": 2}, PART]}),
        ("plans.2", RANKED | {"edit": ["scale", "bias"], "value": [2, "mean"]}),
        ("rankings.1", {"name": "b", "method": "super_experts", "prompts": "ranked"}),
        ("references", [{"model": "m", "expert": "L0E0", "value": 1.0, "what": "w", "ranking": "cats"}]),
        ("claims.0", CLAIM | {"plan": "one"}),
        ("measure", {}),
    ],
)
def test_what_is_sound_is_not_refused(path: str, value: Any) -> None:
    data = put(path, value)
    if path == "measure":
        del data["prompts"]["given"]
    assert isinstance(recipe_from(data, "my.toml"), Recipe)


def test_a_long_list_of_what_there_is_ends_somewhere() -> None:
    names = [f"n{i:02}" for i in range(42)]
    ((place, what),) = consistency.unknown("here", "thing", "zz", names)
    assert (place, what) == (
        "here",
        f"names the thing 'zz', which does not exist; there is {', '.join(names[:40])} and 2 more.",
    )
    assert list(consistency.unknown("here", "thing", "n01", names)) == []
    assert list(consistency.twice("here", ["a", "b"])) == []
    assert list(consistency.twice("here", ["a", "b", "b", "a", "b"])) == [
        ("here", "uses the name 'a' 2 times; give each its own."), ("here", "uses the name 'b' 3 times; give each its own."),
    ]  # fmt: skip


def test_super_experts_have_two_places_that_must_agree() -> None:
    data = recipe_data(rankings=[{"name": "cats", "method": "super_experts", "prompts": "ranked"}])
    said = refusal(data | {"controls": {"super_experts": "exclude"}})
    assert said == "my.toml: 'controls.super_experts' excludes what 'cats' looks for; make it \"flag\"."
    assert recipe_from(recipe_data(controls={"super_experts": "exclude"}))  # another method looks for other experts


def test_what_is_measured_on_a_set_is_in_this_order() -> None:
    made = recipe_from(recipe_data(measure={"perplexity": "other", "sinks": "other"}, prompts={
        k: v for k, v in recipe_data()["prompts"].items() if k != "given"
    }))  # fmt: skip
    assert consistency.metrics_of(made, "other") == ("length", "choice", "nll", "sink_share")
    assert consistency.metrics_of(made, "held") == ("length", "tests.support.recipes:vowels", "kl")


def test_places_are_written_as_in_the_file() -> None:
    assert place_of(("plans", 2, "n")) == "plans[2].n"
    assert place_of((0, "a", "b", 1)) == "[0].a.b[1]"
    assert place_of(()) == ""


def test_the_first_unknown_key_comes_before_what_is_missing() -> None:
    with pytest.raises(ValidationError) as error:
        Recipe.model_validate({"nam": "x", "seed": "y"})
    assert sentence(error.value, Recipe, {"nam": "x", "seed": "y"}, "w").startswith(
        "w: 'nam' is no key of a recipe; did you mean 'name'? it can hold name, title, question, seed, batch_tokens, models,"
    )


def test_a_recipe_is_found_by_its_path_or_its_bundled_name(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    by_name = find_recipe("mote")
    assert find_recipe("mote.toml") == find_recipe("data/experiments/mote.toml") == by_name
    assert by_name.name == "mote.toml"
    (tmp_path / "mote").write_bytes(by_name.read_bytes())
    assert str(find_recipe("mote")) == "mote"
    names = "demo, mote, pruning, rice, safex, steermoe, super_experts, volcanoes"
    for wrong, more in (
        ("other/mote.toml", "; did you mean 'mote'?"),
        ("zzz", "."),
        ("ric.toml", "; did you mean 'rice'?"),
    ):
        with pytest.raises(WorkbenchError) as error:
            read_recipe(wrong)
        assert (
            str(error.value)
            == f"There is no recipe '{wrong}'; give a path to a TOML file, or a bundled name: {names}{more}"
        )


def test_a_file_that_is_no_toml_says_why(tmp_path) -> None:
    path = tmp_path / "r.toml"
    path.write_text("a = \n", encoding="utf-8")
    with pytest.raises(
        WorkbenchError, match=rf"^The recipe '{path}' is not TOML: Invalid value \(at line 1, column 5\)\.$"
    ):
        read_recipe(path)


def test_prompt_files_lie_beside_the_recipe_before_the_working_folder(
    tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in ("beside", "here"):
        (tmp_path / place).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "here" / "held.jsonl").write_text("{}", encoding="utf-8")
    (tmp_path / "here" / "other.jsonl").write_text("{}", encoding="utf-8")
    (tmp_path / "beside" / "held.jsonl").write_text("{}", encoding="utf-8")
    found = recipe_from(recipe_data(), "w", tmp_path / "beside").prompts
    assert {name: spec.source for name, spec in found.items()} == {
        "ranked": "ranked.jsonl", "held": str(tmp_path / "beside" / "held.jsonl"),
        "other": str(tmp_path / "here" / "other.jsonl"),
        "given": "given.jsonl",
    }  # fmt: skip


def test_a_probe_that_compares_two_stores_needs_the_other() -> None:
    data = put("rankings.0.method", "drift")
    data["rankings"][0]["options"] = {"what": "weight"}
    assert refusal(data) == (
        "my.toml: 'rankings[0].options' lacks other, the path of the store that drift compares with; give it."
    )
    data["rankings"][0]["options"] |= {"other": "stores/before"}
    assert recipe_from(data, "my.toml").rankings[0].options == {"what": "weight", "other": "stores/before"}


def test_a_probe_that_ranks_no_experts_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ASKED, "usage", replace(ASKED["usage"], answers="LayerTable"))
    monkeypatch.delitem(RANKERS, "usage")
    assert refusal(put("rankings.0.method", "usage")) == (
        f"my.toml: 'rankings[0].method' names 'usage', which answers a LayerTable and ranks no experts; rank by one of "
        f"{', '.join(RANKERS)}."
    )
