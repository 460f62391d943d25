"""A run's tables are what its recipe says: against `compare`, against pandas, and against what was planned."""

import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner
from workbench_app.cli import app
from workbench_app.experiments.engine import Measuring, lowered, plan_model, token_counts, unit_cost
from workbench_app.experiments.recipe import Recipe
from workbench_app.experiments.run import checked_sets, run_recipe
from workbench_app.experiments.tables import TABLES, read_tables

from tests.support.recipes import MODEL, make_few, make_recipe, vowels
from workbench import Plan, WorkbenchError, compare, load, open_store, read_prompts
from workbench.comparison import choose, decay, expert_loads, sink_share
from workbench.model import MoEModel
from workbench.storage import locked

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model() -> MoEModel:
    return load(MODEL, check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="module")
def recipe(folder: Path) -> Recipe:
    return make_recipe(folder / "prompts")


@pytest.fixture(scope="module")
def tables(recipe: Recipe, folder: Path, model: MoEModel) -> dict[str, Any]:
    """Every table of a run of the small recipe."""
    done = run_recipe(recipe, folder / "run", progress=False, open_model=lambda _: model, own_functions=True)
    found = read_tables(folder / "run")
    assert set(found) == set(TABLES) - {"claims"}
    assert done.units_run == len(list((folder / "run" / "units").glob("*"))) - 2  # scores and arms are no units
    return found


# ---- against compare


def test_one_plan_is_what_compare_says(tables, recipe, folder, model):
    plan = Plan.parse(tables["arms"].set_index("arm").loc["P02", "plan"])  # the first two experts off
    assert len(plan) == 2
    store = open_store(folder / "run" / "stores" / "00-00")
    found = compare(
        model,
        folder / "prompts" / "held.jsonl",
        plan,
        metrics={"length": len, "tests.support.recipes:vowels": vowels},
        controls={"count": 3, "layer": 2, "usage": 2},
        store=store,
        max_new_tokens=4,
        progress=False,
    )
    effects = tables["effects"].query("prompts == 'held'").set_index(["arm", "metric"])
    for row in found.metrics.itertuples():
        ours = effects.loc[("P02", row.metric)]
        assert (ours["n"], ours["n_clusters"]) == (row.n, row.n_clusters)
        for column in ("base", "steered", "difference"):
            assert ours[column] == pytest.approx(getattr(row, column), abs=1e-12)
    assert found.metrics["difference"].abs().max() > 0
    draws = {(f"P02.{r.match}.{r.draw}", r.metric): r for r in found.controls.itertuples()}
    assert len(draws) == 14
    ours = [effects.loc[key, "difference"] for key in draws]
    np.testing.assert_allclose(
        ours, [row.difference for row in draws.values()], rtol=0, atol=1e-12
    )  # another order of sums
    moved = tables["distributions"].query("arm == 'P02' and prompts == 'held'").set_index("prompt_id")
    for column in ("kl_nats", "kl_first_nats"):
        theirs = found.divergence.set_index("prompt_id")[column]
        np.testing.assert_allclose(moved[column].astype(float), theirs[moved.index].astype(float), atol=1e-6)
    dose = tables["doses"].set_index(["arm", "prompts"]).loc[("P02", "held")]
    assert all(dose[k] == getattr(found.dose, k) for k in ("tokens", "tokens_changed", "slots", "slots_changed"))
    answers = tables["answers"].query("arm == 'P02' and prompts == 'held'").set_index("prompt_id")["answer"]
    assert answers.to_dict() == found.responses.set_index("prompt_id")["steered"].to_dict()


def test_intervals_are_those_of_compare_at_its_number_of_draws(folder, model):
    changes: Any = {"seed": 3, "statistics": {"bootstrap": 2000}, "plans": [{"text": "off L1E4"}]}
    recipe = make_few(folder / "prompts", **changes)
    run_recipe(recipe, folder / "bootstrap", progress=False, open_model=lambda _: model, own_functions=True)
    ours = read_tables(folder / "bootstrap")["effects"].query("prompts == 'held' and metric == 'length'").iloc[0]
    held, plan = folder / "prompts" / "held.jsonl", Plan.off("L1E4")
    (theirs,) = compare(
        model, held, plan, metrics={"length": len}, controls=0, seed=3, max_new_tokens=4, progress=False
    ).metrics.itertuples()
    assert (ours["low"], ours["high"]) == (theirs.low, theirs.high)
    assert ours["low"] < ours["high"]


def loads_by_hand(path: Path) -> dict[str, float]:
    """Each expert's share of its layer's selections, by a walk over the slots of a store."""
    n = open_store(path).table("slots").query("slot >= 0").groupby(["layer", "expert"]).size()
    return {f"L{layer}E{expert}": count / n[layer].sum() for (layer, expert), count in n.items()}


def nearest(mine: str, own: set[str], loads: dict[str, float], everyone: list[str]) -> list[str]:
    """The experts outside of a plan whose load is nearest to that of one of its own: ten, one more for each drawn before."""
    off = {e: abs(loads.get(e, 0.0) - loads.get(mine, 0.0)) for e in everyone if e not in own}
    last = sorted(off.values())[9 + len(own) - 1]
    return [e for e, distance in off.items() if distance <= last + 1e-12]


def test_controls_match_their_plan_in_count_layer_and_load(tables, folder, model):
    """By this test's own loads and neighbours; which of them is drawn is the seed's business."""
    arms, loads = tables["arms"].set_index("arm"), loads_by_hand(folder / "run" / "stores" / "00-00")
    everyone = [str(ref) for ref in model.anatomy.refs()]
    for name in ("P01", "P04", "P05"):
        own, drawn = [str(e) for e in Plan.parse(arms.loc[name, "plan"]).experts], list[tuple[str, ...]]()
        for match, n in {"count": 3, "layer": 2, "usage": 2}.items():
            for draw in range(n):
                control = arms.loc[f"{name}.{match}.{draw}"]
                assert control["of"] == name
                found = [str(e) for e in Plan.parse(control["plan"]).experts]
                assert len(set(found)) == len(own)
                assert set(found) == set(control["experts"])
                assert not set(found) & set(own)
                if match == "layer":
                    assert sorted(e.split("E")[0] for e in found) == sorted(e.split("E")[0] for e in own)
                for other in found if match == "usage" else ():
                    assert any(other in nearest(mine, set(own), loads, everyone) for mine in own)
                drawn.append((match, *found))
        assert len(set(drawn)) > 3, "seeds draw different experts"
    assert "P05.bottom" not in arms.index  # an explicit plan has no other end


def test_the_load_of_an_expert_is_its_share_of_its_layers_selections(folder, tables):
    store = folder / "run" / "stores" / "00-00"
    found, by_hand = expert_loads(open_store(store)), loads_by_hand(store)
    assert len(found) == 3 * 16
    for row in found.itertuples():
        assert row.score == pytest.approx(by_hand.get(f"L{row.layer}E{row.expert}", 0.0))
    assert found.groupby("layer")["score"].sum().tolist() == pytest.approx([1, 1, 1])


def test_the_other_end_of_a_ranking_is_its_last_experts(tables):
    arms, scores = tables["arms"].set_index("arm"), tables["scores"]
    names = [f"L{r.layer}E{r.expert}" for r in scores[scores["n"] > 0].sort_values("rank").itertuples()]
    assert sorted(arms.loc["P02", "experts"]) == sorted(names[:2])
    assert sorted(arms.loc["P02.bottom", "experts"]) == sorted(names[-2:])


def test_choices_and_sinks_are_those_of_the_library(tables, folder, model):
    plan = Plan.parse(tables["arms"].set_index("arm").loc["P01", "plan"])
    chosen = choose(model, folder / "prompts" / "other.jsonl", [plan])[0].set_index("prompt_id")["right"]
    values = tables["values"].query("arm == 'P01' and metric == 'choice'").set_index("prompt_id")["value"]
    assert values.to_dict() == chosen.astype(float).to_dict()
    given = folder / "prompts" / "given.jsonl"
    base, moved = sink_share(model, given), sink_share(model, given, plan)
    sinks = tables["sinks"].query("arm == 'P01'").set_index("layer")
    np.testing.assert_allclose(sinks["share"].astype(float), list(moved.by_layer().values()), rtol=1e-9)
    np.testing.assert_allclose(sinks["decay"].astype(float), list(decay(base, moved).values()), atol=1e-9)


def test_given_text_is_read_token_by_token(tables, folder, model):
    """nll against transformers' own loss, one text at a time."""
    import torch

    values = tables["values"].query("arm == 'base' and metric == 'nll'").set_index("prompt_id")["value"]
    for prompt in read_prompts(folder / "prompts" / "given.jsonl"):
        ids = torch.tensor([model.tokenizer(prompt.text)["input_ids"]])
        with torch.no_grad():
            assert values[prompt.id] == pytest.approx(float(model.hf(ids, labels=ids).loss), abs=1e-5)


# ---- against pandas, from `values` alone


def test_effects_are_means_of_paired_differences(tables):
    wide = tables["values"].pivot(index=["prompts", "metric", "prompt_id"], columns="arm", values="value")
    rows = 0
    for row in tables["effects"].itertuples():
        both = wide.loc[(row.prompts, row.metric), ["base", row.arm]].dropna().astype(float)
        assert row.n == len(both)
        assert row.base == pytest.approx(both["base"].mean(), nan_ok=True)
        assert row.steered == pytest.approx(both[row.arm].mean(), nan_ok=True)
        assert row.difference == pytest.approx((both[row.arm] - both["base"]).mean(), nan_ok=True, abs=1e-12)
        assert not row.low > row.difference + 1e-12
        assert not row.high < row.difference - 1e-12
        rows += 1
    assert rows == sum(
        len(g) > 0 for _, g in tables["values"].query("arm != 'base'").groupby(["prompts", "metric", "arm"])
    )


def test_what_random_experts_do_stands_beside_every_plan(tables):
    arms = tables["arms"].set_index("arm")
    effects = tables["effects"].join(arms[["kind", "of", "match"]], on="arm")
    plans = effects[effects["kind"].isin(["plan", "explicit"])]
    assert len(plans) == 5 * 7
    for row in plans.itertuples():
        drawn = effects.query(
            "of == @row.arm and kind == 'random' and prompts == @row.prompts and metric == @row.metric"
        )
        for match in ("count", "layer", "usage"):
            median = drawn[drawn["match"] == match]["difference"].median()
            assert getattr(row, f"random_median_{match}") == pytest.approx(median, nan_ok=True)
        known = drawn["difference"].dropna().abs()
        assert row.beats_random == pytest.approx((known < abs(row.difference) - 1e-12).mean(), nan_ok=True)
        assert len(drawn) == (7 if row.role == "target" else 3)
    assert effects[~effects["kind"].isin(["plan", "explicit"])]["p"].isna().all()


def test_p_values_are_those_of_every_sign_flip(tables, recipe):
    """All 2^clusters patterns in plain Python, the observed one among them."""
    values, arms = tables["values"], tables["arms"]
    plans = list(arms[arms["kind"].isin(["plan", "explicit"])]["arm"])
    effects = tables["effects"].set_index(["prompts", "metric", "arm"])
    for prompts, metric in (
        ("held", "length"),
        ("held", "tests.support.recipes:vowels"),
        ("other", "length"),
        ("given", "nll"),
    ):
        rows = values.query("prompts == @prompts and metric == @metric")
        wide = rows.pivot(index="prompt_id", columns="arm", values="value").astype(float)
        cluster = rows.drop_duplicates("prompt_id").set_index("prompt_id")["cluster"].loc[wide.index]
        sums = {}
        for arm in plans:
            difference = wide[arm] - wide["base"]
            sums[arm] = [difference[cluster == c].sum() / difference.notna().sum() for c in sorted(set(cluster))]
        observed = {arm: abs(sum(s)) for arm, s in sums.items()}
        flipped = [
            {arm: abs(np.dot(signs, s)) for arm, s in sums.items()}
            for signs in product((1, -1), repeat=len(set(cluster)))
        ]
        spread = {arm: np.sqrt(np.mean([f[arm] ** 2 for f in flipped])) or np.inf for arm in plans}
        largest = np.array([max(f[arm] / spread[arm] for arm in plans) for f in flipped])
        for arm in plans:
            own = np.mean([f[arm] >= observed[arm] - 1e-9 for f in flipped])
            most = np.mean(largest >= observed[arm] / spread[arm] - 1e-9)
            assert effects.loc[(prompts, metric, arm), "p"] == pytest.approx(own)
            assert effects.loc[(prompts, metric, arm), "p_adjusted"] == pytest.approx(most)
    assert effects.xs("kl", level="metric")["p"].isna().all()  # a distance cannot be below the base's 0


# ---- what was planned


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


# ---- what cannot be done, and what is less than it should be


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


def test_options_of_the_wrong_kind_are_one_sentence(model, tmp_path):
    rankings = [{"name": "cats", "method": "ftri", "prompts": "ranked", "options": {"target": "kind=cat", "seed": "x"}}]
    recipe = make_few(tmp_path, rankings=rankings)
    with pytest.raises(WorkbenchError, match=r"'rankings\[0\].options': ftri cannot be computed with"):
        run_recipe(recipe, tmp_path / "run", progress=False, open_model=lambda _: model, own_functions=True)


def test_fewer_controls_than_ten_are_said(tables, recipe):
    text = " ".join(tables["notes"].query("about == 'controls'")["text"])
    assert "3 random draws matched by count, fewer than 10" in text
    assert "2 random draws matched by layer, fewer than 10" in text
    assert "1 random draws of each kind on capability sets, fewer than 3" in text
    default = recipe.model_copy(update={"controls": type(recipe.controls)()})
    assert lowered(default) == []
    assert all(getattr(default.controls, match) >= 10 for match in ("count", "layer", "usage"))
    assert default.controls.bottom


# ---- the command line


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
