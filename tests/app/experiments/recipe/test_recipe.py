"""Recipes: what is read, what is filled in, and one sentence with the place for every mistake."""

from pathlib import Path
from typing import Any

import pytest
from workbench_app.experiments.recipe import (
    cells,
    chosen,
    find_recipe,
    own_metric,
    read_recipe,
    read_sets,
    recipe_from,
)

from tests.support.recipes import make_recipe, recipe_data, write_prompts
from workbench import WorkbenchError
from workbench.responses import Response

CLAIM = {"name": "c", "text": "t", "prompts": "held", "metric": "length", "direction": "down"}


def put(path: str, value: Any) -> dict[str, Any]:
    """The recipe with one value at `a.b.0.c`; None takes it away."""
    data = recipe_data(claims=[CLAIM | {"ranking": "cats", "n": 1, "edit": "off"}])
    *before, last = (int(p) if p.isdigit() else p for p in path.split("."))
    place: Any = data
    for part in before:
        place = place[part] if isinstance(place, list) or part in place else place.setdefault(part, {})
    if value is None:
        del place[last]
    elif isinstance(place, list) and last == len(place):
        place.append(value)
    else:
        place[last] = value
    return data


MISTAKES = [
    # one key by itself
    ("plans.0.n", ["two"], "'plans[0].n[0]' is 'two'; it should be a whole number."),
    ("plans.0.n", "two", "'plans[0].n' is 'two'; it should be a whole number."),
    ("plans.0.n", [0], "'plans[0].n[0]' is 0; it should be greater than or equal to 1."),
    ("plans.0.edits", ["off"], "'plans[0].edits' is no key of 'plans[0]'; did you mean 'edit'?"),
    ("plans.0.edit", ["of"], "'plans[0].edit[0]' is 'of'; it should be bias, off,"),
    ("seed", True, "'seed' is true; it should be a whole number."),
    ("seeds", 1, "'seeds' is no key of a recipe; did you mean 'seed'?"),
    ("name", "a b", "'name' is 'a b'; it should match pattern"),
    ("name", None, "'name' is missing; give it."),
    ("models", [], "'models' is []; it should have at least 1 item"),
    ("models", [{"sourc": "demo"}], "'models[0].sourc' is no key of 'models[0]'; did you mean 'source'?"),
    ("models", ["demo", {"source": "demo", "dtype": "bfloat16"}], "'models' names 'demo' 2 times, and tables tell"),
    ("models", 3, "'models' is 3; it should be a table."),
    ("prompts.held", "held.jsonl", "'prompts.held' is 'held.jsonl'; it should be a table."),
    (
        "prompts.held.role",
        "heldout",
        "'prompts.held.role' is 'heldout'; it should be ranking, choosing, target or capability.",
    ),
    ("controls.count", -1, "'controls.count' is -1; it should be greater than or equal to 0."),
    (
        "statistics.bootstrap",
        10**10,
        "'statistics.bootstrap' is 10000000000; it should be less than or equal to 100000.",
    ),
    ("controls.bottom", "yes", "'controls.bottom' is 'yes'; it should be true or false."),
    ("judge", {"adress": "x", "model": "m"}, "'judge.adress' is no key of 'judge'; did you mean 'address'?"),
    ("plans.0.value", [float("nan")], "'plans[0].value[0]' is nan; it should"),
    # what keys say together
    ("prompts.held.metrics", ["lenght"], "'prompts.held.metrics[0]' names the metric 'lenght', which does not exist;"),
    ("prompts.held.metrics", [], "'prompts.held.metrics' is empty, so nothing would be measured there;"),
    ("prompts.held.metrics", ["kl", "kl"], "'prompts.held.metrics' uses the name 'kl' 2 times;"),
    ("prompts.held.metrics", ["judge"], "'prompts.held.metrics[0]' asks a judge, and there is no [judge];"),
    ("prompts.ranked.metrics", ["length"], "'prompts.ranked.metrics' measures prompts that experts are ranked on;"),
    ("rankings.0.method", "ftr", "'rankings[0].method' names the ranking method 'ftr', which does not exist;"),
    (
        "rankings.0.options",
        {"tokns": 1},
        "'rankings[0].options.tokns' is no option of ftri; did you mean 'tokens'?",
    ),
    (
        "rankings.0",
        {"name": "cats", "method": "contrast", "prompts": "ranked", "options": {"positive": "kind=cat"}},
        "'rankings[0].options.positive' is called target now; write target.",
    ),
    ("rankings.0.prompts", "held", "'rankings[0].prompts' ranks on 'held', which is measured;"),
    ("rankings.0.prompts", "rankd", "did you mean 'ranked'?"),
    (
        "rankings.1",
        {"name": "cats", "method": "usage", "prompts": "ranked"},
        "'rankings' uses the name 'cats' 2 times;",
    ),
    (
        "plans.0.ranking",
        ["dogs"],
        "'plans[0].ranking[0]' names the ranking 'dogs', which does not exist; there is cats",
    ),
    ("plans.0.ranking", None, "'plans[0]' names no experts;"),
    ("plans.0.n", None, "'plans[0].n' is missing, so it is not known how many experts are meant;"),
    ("plans.0.edit", None, "'plans[0].edit' and parts say what happens to the experts; give exactly one of them."),
    ("plans.0.parts", [{"edit": "off"}], "'plans[0].edit' and parts say what happens"),
    ("plans.0.value", [2.0], "'plans[0].value' has no edit that takes a strength;"),
    ("plans.0.edit", ["scale"], "'plans[0].value' gives scale no strength; it needs a number."),
    (
        "plans.2",
        {"ranking": "cats", "n": 1, "edit": "scale", "value": "mean"},
        "'plans[2].value' gives scale no strength;",
    ),
    ("plans.2", {"ranking": "cats", "n": 1, "edit": "replace", "value": "mean"}, "'capture.keep' lacks \"outputs\""),
    (
        "plans.2",
        {"ranking": "cats", "n": 1, "parts": [{"edit": "off", "value": 2.0}]},
        "'plans[2].parts[0].value' has no",
    ),
    ("plans.2", {"text": "off L0E0", "n": 2}, "'plans[2].n' has no place beside text,"),
    ("plans.2", {"text": "of L0E0"}, "'plans[2].text' is no plan: 'of L0E0' is not an edit;"),
    ("plans.2", {"text": "off L0E0", "name": "one"}, "'plans' uses the name 'one' 2 times;"),
    (
        "capture.samples",
        2,
        "'capture.samples' would make the same rows 2 times; give generate and a temperature above 0",
    ),
    ("capture", {"responses": True, "generate": 4}, "'capture.generate' goes with given responses,"),
    (
        "judge",
        {"address": "file:///etc/passwd", "model": "m"},
        "'judge.address' is 'file:///etc/passwd'; it should begin",
    ),
    ("measure.sinks", "ranked", "'measure.sinks' measures on 'ranked', which experts are ranked on;"),
    ("measure.perplexity", "givn", "'measure.perplexity' names the prompt set 'givn', which does not exist;"),
    ("claims.0.prompts", "ranked", "'claims[0].prompts' names the measured prompt set 'ranked', which does not exist;"),
    ("claims.0.metric", "refused", "'claims[0].metric' names the metric of 'held' 'refused', which does not exist;"),
    ("claims.0.n", 4, "'claims[0]' is about 0 plans of this recipe, and should be about one;"),
    ("claims.0.n", None, "'claims[0]' is about 2 plans of this recipe, and should be about one;"),
    ("claims.0.plan", "two", "'claims[0].plan' names the plan 'two', which does not exist;"),
    ("claims.0.name", "../../x", "'claims[0].name' is '../../x'; it should match pattern"),
    ("claims.1", CLAIM | {"plan": "one"}, "'claims' uses the name 'c' 2 times;"),
]


@pytest.mark.parametrize(("path", "value", "said"), MISTAKES, ids=[f"{i}-{m[0]}" for i, m in enumerate(MISTAKES)])
def test_a_mistake_is_one_sentence_with_its_place(path, value, said):
    with pytest.raises(WorkbenchError) as found:
        recipe_from(put(path, value), "my.toml")
    text = str(found.value)
    assert said in text
    assert text.startswith("my.toml: '")
    assert "\n" not in text


def test_super_experts_cannot_be_excluded_from_their_own_ranking():
    data = recipe_data(rankings=[{"name": "cats", "method": "super_experts", "prompts": "ranked"}])
    with pytest.raises(WorkbenchError, match="excludes what 'cats' looks for"):
        recipe_from(data | {"controls": {"super_experts": "exclude"}})


@pytest.mark.parametrize(
    ("text", "said"), [("name = ", "is not TOML"), (b"\xff", "is not TOML"), ("", "'name' is missing")]
)
def test_a_file_that_is_no_recipe(tmp_path, text, said):
    path = tmp_path / "bad.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(WorkbenchError, match=said):
        read_recipe(path)


def test_a_recipe_that_is_not_there():
    with pytest.raises(WorkbenchError, match=r"There is no recipe 'moet'.*did you mean 'mote'"):
        read_recipe("moet")


def test_what_comes_back_has_every_default_and_reads_as_itself(tmp_path, monkeypatch):
    recipe = make_recipe(tmp_path / "prompts")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")  # prompt files are found wherever the resolved recipe lies
    (tmp_path / "resolved.toml").write_text(recipe.to_toml(), encoding="utf-8")
    again = read_recipe(tmp_path / "resolved.toml")
    assert again == recipe
    assert {n: len(s) for n, s in read_sets(again).items()} == {"ranked": 8, "held": 12, "other": 5, "given": 4}
    assert "layer = 2" in recipe.to_toml()
    assert "bottom = true" in recipe.to_toml()


def test_every_bundled_recipe_is_sound():
    for name in ("mote", "rice", "super_experts", "steermoe", "safex"):
        recipe = read_recipe(name)
        assert recipe.name == name
        assert read_sets(recipe)
        assert all(len(chosen(recipe, claim)) == 1 for claim in recipe.claims)


def test_everything_in_lists_is_crossed(tmp_path):
    plans = [
        {
            "ranking": ["cats", "dogs"],
            "n": [1, 2, 4],
            "edit": ["off", "scale"],
            "value": [2, 64],
            "phase": ["all", "prompt"],
        },
        {
            "ranking": "cats",
            "n": [2, 3],
            "name": "both",
            "parts": [{"edit": "force", "n": 1}, {"edit": "off", "end": "bottom"}],
        },
    ]
    rankings = [{"name": n, "method": "ftri", "prompts": "ranked"} for n in ("cats", "dogs")]
    found = cells(make_recipe(tmp_path, plans=plans, rankings=rankings))
    assert len(found) == 2 * 3 * (1 + 2) * 2 + 2
    assert [c.arm for c in found] == [f"P{i:02}" for i in range(1, 39)]
    assert len({c._replace(arm="") for c in found}) == len(found)
    last = found[-1]
    assert (last.end, last.edit, last.n, last.value, last.name) == ("top+bottom", "force+off", 4, None, "both")
    assert {c.value for c in found if c.edit == "scale"} == {"2", "64"}


@pytest.mark.parametrize("how", ["id", "words"])
def test_sets_that_overlap_are_refused(tmp_path, how):
    write_prompts(tmp_path)
    line = (tmp_path / "ranked.jsonl").read_text().splitlines()[3]
    changed = line.replace("cat number", "another number") if how == "id" else line.replace("ranked-3", "own-id")
    with (tmp_path / "other.jsonl").open("a") as file:
        file.write("\n" + changed)
    recipe = recipe_from(recipe_data(), "small.toml", tmp_path)
    with pytest.raises(WorkbenchError, match=r"'prompts.other' shares .* with a set that experts are ranked on"):
        read_sets(recipe)
    data = recipe_data()
    data["prompts"]["other"]["unseen"] = True
    left = read_sets(recipe_from(data, "small.toml", tmp_path))["other"]
    assert [p.id for p in left] == [f"other-{i}" for i in range(5)]


def test_one_file_can_be_split_but_not_shared(tmp_path: Path):
    refusal = {"source": "refusal", "role": "ranking"}
    for labels, fits in (({"sensitive": "no"}, True), ({}, False)):
        target = {"source": "refusal", "role": "target", "metrics": ["refused"], "labels": labels}
        prompts = {"ranked": refusal | {"labels": {"sensitive": "yes"}}, "held": target}
        recipe = make_recipe(tmp_path, prompts=prompts, measure={})
        if fits:
            assert len(read_sets(recipe)["held"]) == 72
        else:
            with pytest.raises(WorkbenchError, match="shares the prompt 'ranking-000-sensitive'"):
                read_sets(recipe)


@pytest.mark.parametrize(("function", "said"), [("literal_eval", "SyntaxError: "), ("PyCF_ONLY_AST", "TypeError: ")])
def test_a_function_of_ones_own_that_fails_is_one_sentence_with_the_prompt(function: str, said: str) -> None:
    with pytest.raises(WorkbenchError, match=rf"The metric 'ast:{function}' fails on .* the prompt 'p7' \({said}"):
        own_metric(f"ast:{function}").function(Response("no number", "p7", 0, {}))


def test_a_metric_whose_label_no_prompt_carries_is_refused_before_the_run(tmp_path):
    data = recipe_data()
    data["prompts"]["held"]["metrics"] = ["faithful"]
    write_prompts(tmp_path)
    with pytest.raises(WorkbenchError, match=r"'prompts.held.metrics' has 'faithful', which reads the label 'context'"):
        read_sets(recipe_from(data, folder=tmp_path))


def test_a_recipe_saved_with_a_byte_order_mark_is_read(tmp_path):
    path = tmp_path / "marked.toml"
    path.write_bytes(b"\xef\xbb\xbf" + Path(find_recipe("mote")).read_bytes())
    assert read_recipe(path) == read_recipe("mote")


def test_a_run_that_an_earlier_version_began_is_read_by_todays_names(tmp_path: Path) -> None:
    text = Path("data/experiments/safex.toml").read_text("utf-8")
    assert 'target = "refused", baseline = "answered"' in text
    old = text.replace('target = "refused", baseline = "answered"', 'regular = "refused", jailbreak = "answered"')
    (tmp_path / "recipe.toml").write_text(old, "utf-8")
    with pytest.raises(WorkbenchError, match=r"'rankings\[0\].options.regular' is called target now; write target\."):
        read_recipe(tmp_path / "recipe.toml")
    assert read_recipe(tmp_path / "recipe.toml", begun=True).rankings == read_recipe("safex").rankings


@pytest.mark.parametrize("rankings", [[{"name": "x"}], ["x"], "x", [{"method": "magic", "options": {}}]])
def test_what_is_no_ranking_is_refused_in_a_begun_run_too(rankings: Any, tmp_path: Path) -> None:
    import tomli_w

    (tmp_path / "recipe.toml").write_text(tomli_w.dumps(recipe_data() | {"rankings": rankings}), "utf-8")
    with pytest.raises(WorkbenchError) as fresh:
        read_recipe(tmp_path / "recipe.toml")
    with pytest.raises(WorkbenchError) as begun:
        read_recipe(tmp_path / "recipe.toml", begun=True)
    assert str(begun.value) == str(fresh.value)
