"""A run does what was planned, goes on only as the same run, and says what could not be done."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner
from workbench_app.cli import app
from workbench_app.experiments.engine import Measuring, lowered, plan_model, token_counts, unit_cost
from workbench_app.experiments.recipe import Recipe
from workbench_app.experiments.run import checked_sets, run_recipe
from workbench_app.experiments.tables import read_tables

from tests.support.recipes import MODEL, make_few, make_recipe
from workbench import WorkbenchError, load
from workbench.storage import locked

pytestmark = pytest.mark.slow


def test_every_planned_unit_is_run_shared_or_impossible(tables, recipe, folder, model):
    planned = json.loads((folder / "run" / "plan.json").read_text())["models"][0]
    units = tables["units"]
    assert units["what"].value_counts().to_dict() == planned["pieces"]
    assert tables["arms"]["kind"].value_counts().to_dict() == planned["arms"]
    assert planned["answers"] == len(tables["answers"])
    assert set(units["outcome"]) == {"run", "shared"}
    arms = tables["arms"].set_index("arm")["plan"]
    shared = units[units["outcome"] == "shared"]
    assert all(arms[r.arm] == arms[r.shared_with] for r in shared.itertuples())
    again = plan_model(recipe, checked_sets(recipe, own_functions=True), model, MODEL).to_dict()
    assert {k: again[k] for k in ("tokens", "answers", "arms")} == {
        k: planned[k] for k in ("tokens", "answers", "arms")
    }
    assert planned["seconds"] > 0


def test_no_more_tokens_are_forwarded_than_planned(tmp_path, model, monkeypatch):
    """Counted at the model's door, unit by unit; a bound that is far from what is done would be no plan."""
    plans, none = [{"text": "off L1E1"}, {"text": "mute L1E2"}], {"count": 0, "layer": 0, "usage": 0, "bottom": False}
    recipe = make_recipe(tmp_path / "prompts", plans=plans, controls=none)
    spent, per_unit, measure = [0], [], Measuring.measure

    def count(_: Any, args: tuple[Any, ...], given: dict[str, Any]) -> None:
        ids, mask = args[0] if args else given["input_ids"], given.get("attention_mask")
        spent[0] += ids.numel() if mask is None else int(mask[:, -ids.shape[1] :].sum())

    def counted(self: Measuring, unit: Any) -> None:
        before = spent[0]
        measure(self, unit)
        per_unit.append((unit, spent[0] - before))

    monkeypatch.setattr(Measuring, "measure", counted)
    monkeypatch.setattr(model.hf.generation_config, "eos_token_id", [model.anatomy.vocab_size - 1])  # none ends early
    handle = model.hf.register_forward_pre_hook(count, with_kwargs=True)
    try:
        run_recipe(recipe, tmp_path / "run", progress=False, open_model=lambda _: model, own_functions=True)
    finally:
        handle.remove()
    sets = checked_sets(recipe, own_functions=True)
    lengths = token_counts(recipe, sets, model)
    for unit, tokens in per_unit:
        planned = unit_cost(recipe, sets, lengths, unit)
        assert tokens <= planned, unit
        if unit.what == "answers":  # but the last token of each, which is never forwarded
            assert tokens == planned - len(sets[unit.prompts]), unit
    assert {unit.what for unit, _ in per_unit} == {"answers", "distributions", "choice", "perplexity", "sinks"}
    planned = json.loads((tmp_path / "run" / "plan.json").read_text())["models"][0]["tokens"]
    measured = sum(tokens for _, tokens in per_unit)
    assert planned / 2 < measured <= planned


def test_a_finished_run_runs_no_forward(tables, recipe, folder):
    def no_model(_: Any) -> Any:
        raise AssertionError("a finished run needs no model")

    assert run_recipe(recipe, folder / "run", progress=False, open_model=no_model, own_functions=True).units_run == 0


def test_a_run_that_another_process_is_at_is_refused(recipe, tmp_path, model):
    def run() -> int:
        return run_recipe(recipe, tmp_path, progress=False, open_model=lambda _: model, own_functions=True).units_run

    with locked(tmp_path, "run"), pytest.raises(WorkbenchError, match="Another process is at work on the run"):
        run()
    assert run() > 0


def test_another_recipe_is_refused_in_its_folder(tables, folder):
    before = {p: p.stat().st_mtime_ns for p in (folder / "run").rglob("*")}
    for changes, said in (
        ({"seed": 1}, r"another recipe: seed \(0 there, 1 here\) differ"),
        ({"plans": [{"text": "off L1E1"}]}, r"another recipe: plans"),
    ):
        with pytest.raises(WorkbenchError, match=said):
            run_recipe(make_recipe(folder / "prompts", **changes), folder / "run", progress=False, own_functions=True)
    path = folder / "prompts" / "held.jsonl"
    text = path.read_text()
    path.write_text(text.replace("held cat", "held bird"))
    with pytest.raises(WorkbenchError, match=r"the content of prompts.held \(\w+ there, \w+ here\)"):
        run_recipe(_same_recipe(folder), folder / "run", progress=False, own_functions=True)
    path.write_text(text)
    assert before == {p: p.stat().st_mtime_ns for p in (folder / "run").rglob("*")}


def _same_recipe(folder: Path) -> Recipe:
    from workbench_app.experiments.recipe import read_recipe

    return read_recipe(folder / "run" / "recipe.toml")


def test_another_model_under_the_same_name_is_refused(recipe, folder, model, tmp_path):
    first = make_few(folder / "prompts", plans=[{"text": "off L1E1"}])
    with pytest.raises(RuntimeError, match="stop"):
        run_recipe(first, tmp_path / "run", progress=lambda _: _stop(), open_model=lambda _: model, own_functions=True)
    with pytest.raises(WorkbenchError, match="was begun with another model under the name 'tiny/olmoe'"):
        run_recipe(
            first,
            tmp_path / "run",
            progress=False,
            open_model=lambda _: load("tiny/qwen3_moe", check=False),
            own_functions=True,
        )


def test_a_run_does_not_go_on_under_another_generation_config(folder, model, tmp_path, monkeypatch):
    few = make_few(folder / "prompts", plans=[{"text": "off L1E1"}])

    def run(progress: Any = False) -> int:
        how = {"open_model": lambda _: model, "own_functions": True}
        return run_recipe(few, tmp_path / "run", progress=progress, **how).units_run

    with pytest.raises(RuntimeError, match="stop"):
        run(lambda _: _stop())
    with monkeypatch.context() as other:
        other.setattr(model.hf.generation_config, "repetition_penalty", 1.3)
        with pytest.raises(WorkbenchError, match="begun with another generation config"):
            run()
    assert run() > 0


def _stop() -> None:
    raise RuntimeError("stop")


def test_an_impossible_plan_is_a_row_with_its_reason(folder, model, tmp_path):
    plans = [
        {"text": "force L1E0-3", "name": "four forced"},
        {"text": "off L9E1", "name": "no such layer"},
        {"ranking": "cats", "n": 40, "edit": "off"},
        {"text": "off L1E1", "name": "fine"},
    ]
    recipe = make_few(tmp_path, plans=plans, controls={"count": 1, "layer": 0, "usage": 0})
    run_recipe(recipe, tmp_path / "run", progress=False, open_model=lambda _: model, own_functions=True)
    found = read_tables(tmp_path / "run")
    reasons = found["arms"].set_index("arm")["reason"]
    assert "selects 3 experts per token, and the plan forces 4" in reasons["P01"]
    assert reasons["P02"] == "Layer 9 does not exist: tiny/olmoe has layers 0-2."
    assert "were asked for; ask for at most" in reasons["P03"]
    assert reasons["P01.count.0"] == "P01 cannot be run, so it needs no control."
    assert pd.isna(reasons["P04"])
    assert set(found["units"].query("outcome == 'impossible'")["arm"]) == {
        "P01", "P02", "P03", "P01.count.0", "P02.count.0", "P03.count.0", "P03.bottom",
    }  # fmt: skip
    assert set(found["effects"]["arm"]) == {"P04", "P04.count.0"}
    said = found["notes"].set_index("about")["text"]
    assert said["arm P01"].startswith("was not run: Layer 1 selects 3")
    assert "arm P01.count.0" not in said.index  # its plan says it


def test_a_ranking_that_cannot_be_made_does_not_end_the_run(model, tmp_path):
    rankings = [{"name": "cats", "method": "ftri", "prompts": "ranked", "options": {"target": "kind=bird"}}]
    recipe = make_few(tmp_path, rankings=rankings, controls={"count": 1, "layer": 0, "usage": 0})
    run_recipe(recipe, tmp_path / "run", progress=False, open_model=lambda _: model, own_functions=True)
    found = read_tables(tmp_path / "run")
    assert set(found["effects"]["arm"]) == {"P05", "P05.count.0"}  # the explicit plan
    assert "could not be made" in found["notes"].set_index("about").loc["ranking cats", "text"]
    assert "bird" in found["arms"].set_index("arm").loc["P01", "reason"]


def test_options_of_the_wrong_kind_are_one_sentence(tmp_path):
    def recipe(**options):
        asked = {"name": "cats", "method": "ftri", "prompts": "ranked", "options": {"target": "kind=cat", **options}}
        return make_few(tmp_path, rankings=[asked])

    with pytest.raises(WorkbenchError, match=r"'rankings\[0\].options.seed' is 'x'; it should be a whole number"):
        recipe(seed="x")
    with pytest.raises(
        WorkbenchError, match=r"'rankings\[0\].options.seed' is -1; it should be a whole number from 0 on"
    ):
        recipe(seed=-1)


def test_a_part_of_an_option_is_set_in_a_recipe_as_on_the_command_line(tmp_path):
    asked = {"name": "cats", "method": "super_experts", "prompts": "ranked", "options": {"massive": {"absolute": 7}}}
    recipe = make_few(tmp_path, rankings=[asked], controls={"super_experts": "flag"})
    assert "[rankings.options.massive]\nabsolute = 7\n" in recipe.to_toml()
    asked["options"]["massive"]["absolute"] = "x"
    with pytest.raises(WorkbenchError, match=r"'rankings\[0\].options.massive.absolute' is 'x'; it should be a finite"):
        make_few(tmp_path, rankings=[asked], controls={"super_experts": "flag"})


def test_fewer_controls_than_ten_are_said(tables, recipe):
    text = " ".join(tables["notes"].query("about == 'controls'")["text"])
    assert "3 random draws matched by count, fewer than 10" in text
    assert "2 random draws matched by layer, fewer than 10" in text
    assert "1 random draws of each kind on capability sets, fewer than 3" in text
    default = recipe.model_copy(update={"controls": type(recipe.controls)()})
    assert lowered(default) == []
    assert all(getattr(default.controls, match) >= 10 for match in ("count", "layer", "usage"))
    assert default.controls.bottom


def test_a_dry_run_writes_nothing(recipe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.toml").write_text(recipe.to_toml(), encoding="utf-8")
    said = CliRunner().invoke(app, ["run", "small.toml", "--dry-run", "--own-functions"])
    assert said.exit_code == 0, said.output
    assert "arms: 1 base, 4 plan, 4 bottom, 35 random, 1 explicit" in said.stdout
    assert "Nothing was written." in said.stdout
    assert "fewer than 10" in said.stderr
    assert [p.name for p in tmp_path.rglob("*")] == ["small.toml"]


def test_a_recipe_runs_code_of_its_own_only_when_asked(recipe, tmp_path):
    """A recipe from elsewhere must not hand the model's words to any function it names."""
    theirs = recipe.to_toml().replace("tests.support.recipes:vowels", "os:system")
    assert theirs.count("os:system") == 1
    (tmp_path / "theirs.toml").write_text(theirs, encoding="utf-8")
    said = CliRunner().invoke(app, ["run", str(tmp_path / "theirs.toml"), "--out", str(tmp_path / "run")])
    assert said.exit_code == 2
    assert "code of its own, os:system; add --own-functions" in " ".join(said.stderr.split())
    assert not (tmp_path / "run").exists()


def test_a_mistake_is_one_sentence_and_exit_code_2(tmp_path):
    (tmp_path / "bad.toml").write_text('name = "x"\nmodels = ["demo"]\nplan = 3\n', encoding="utf-8")
    said = CliRunner().invoke(app, ["run", str(tmp_path / "bad.toml")])
    assert said.exit_code == 2
    assert "'plan' is no key of a recipe; did you mean 'plans'?" in " ".join(said.stderr.split())
    for arguments, sentence in (
        (["report", str(tmp_path)], "is no run"),
        (["run", "no-such-recipe"], "There is no recipe 'no-such-recipe'"),
    ):
        said = CliRunner().invoke(app, arguments)
        assert said.exit_code == 2
        assert sentence in " ".join(said.stderr.split())


def test_a_recipe_none_of_whose_plans_can_be_run_ends_with_1_and_a_report(tmp_path):
    claim = {"name": "c", "text": "It falls", "prompts": "held", "metric": "length", "direction": "down"}
    plans = [{"text": "force L1E0-3"}]
    recipe = make_few(tmp_path, plans=plans, rankings=[], claims=[claim])
    (tmp_path / "none.toml").write_text(recipe.to_toml(), encoding="utf-8")
    said = CliRunner().invoke(
        app, ["run", str(tmp_path / "none.toml"), "--out", str(tmp_path / "run"), "--own-functions"]
    )
    assert said.exit_code == 1, said.output
    assert "No plan of this recipe could be run" in said.stderr
    assert "selects 3 experts per token, and the plan forces 4" in " ".join(said.stderr.split())
    assert "It falls" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
