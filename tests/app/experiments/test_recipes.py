"""The bundled recipes about papers: they read, and cut down to a few prompts and one draw they run from capture to report."""

import json
from pathlib import Path
from typing import Any

import pytest
from workbench_app.experiments.recipe import Recipe, read_recipe, recipe_from
from workbench_app.experiments.report import write_report
from workbench_app.experiments.report.report import opened
from workbench_app.experiments.run import checked_sets, run_recipe
from workbench_app.experiments.tables import ABSENT, APPEARS, UNDECIDED

from workbench import MoEModel, Plan, load

RECIPES = ("mote", "rice", "super_experts", "steermoe", "safex")
PRUNING = "pruning"
GRADES = {"abstract", "paper", "code", "second-hand"}


@pytest.fixture(scope="module")
def model() -> MoEModel:
    return load("demo")


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_reads_and_ranks_on_prompts_that_it_never_measures(name: str) -> None:
    recipe = read_recipe(name)
    checked_sets(recipe)  # refuses a measured prompt that was ranked on
    assert recipe.name == name
    assert recipe.paper is not None
    assert recipe.models[0].source == "demo"


@pytest.mark.parametrize("name", RECIPES)
def test_every_number_of_a_paper_has_its_grade_and_every_claim_its_differences(name: str) -> None:
    recipe = read_recipe(name)
    assert {claim.paper.grade for claim in recipe.claims if claim.paper is not None} <= GRADES
    assert all(claim.differences for claim in recipe.claims)
    assert any(claim.paper is not None for claim in recipe.claims)


def test_the_pruning_curve_goes_to_half_of_the_experts_by_two_rankings_beside_ten_draws(model: MoEModel) -> None:
    recipe = read_recipe(PRUNING)
    checked_sets(recipe)
    layers, experts = len(model.anatomy.moe_layers), model.anatomy.n_experts
    for plans in recipe.plans:
        assert plans.ranking == ("REAP", "frequency")
        assert max(plans.n) == experts // 2
    by_layer = next(p for p in recipe.plans if p.end == ("least_by_layer",))
    assert all(n % layers == 0 for n in by_layer.n)
    assert next(p for p in recipe.plans if p.end == ("least",)).n[0] == 1
    controls = recipe.controls
    assert min(controls.count, controls.layer, controls.capability_draws) >= 10
    assert controls.bottom
    assert {spec.role for spec in recipe.measured().values()} == {"target", "capability"}
    assert {(claim.ranking, claim.end) for claim in recipe.claims if claim.metric == "nll"} == {
        (ranking, end) for ranking in ("REAP", "frequency") for end in ("least", "least_by_layer")
    }


@pytest.mark.slow
def test_the_pruning_curve_runs_from_capture_to_report(model: MoEModel, tmp_path: Path) -> None:
    whole = read_recipe(PRUNING).model_dump(mode="json", exclude_none=True)
    for plans, n in zip(whole["plans"], ([1, 32, 64], [4, 32, 64]), strict=True):
        plans["n"] = n
    recipe = cut_down(recipe_from(whole), draws={"count": 2, "layer": 2})
    run = run_recipe(recipe, tmp_path / PRUNING, progress=False, open_model=lambda _: model)
    page = write_report(run.path).read_text("utf-8")
    _, tables, _ = opened(run.path)
    assert tables["claims"]["steered"].notna().all(), tables["claims"][["name", "why"]]
    arms: Any = tables["arms"].set_index("arm")
    assert arms["reason"].isna().all(), arms["reason"].dropna()
    # what is least by a loop over the ranking's rows, and what stands at the other end
    plan = arms[(arms["kind"] == "plan") & (arms["end"] == "least_by_layer") & (arms["n"] == 32)].iloc[0]
    scores: Any = tables["scores"][tables["scores"]["ranking"] == plan["ranking"]]
    for layer, part in scores.groupby("layer"):
        never = part[part["score"].isna()].sort_values("expert")
        rest = part[part["score"].notna()].sort_values(["score", "expert"])
        worst = [f"L{layer}E{e}" for e in [*never["expert"], *rest["expert"]][:8]]
        assert {e for e in plan["experts"] if e.startswith(f"L{layer}E")} == set(worst)
    # every plan's file says what it would free: three matrices of hidden x width an expert, by the model's own config
    config = model.hf.config
    one = 3 * config.hidden_size * config.moe_intermediate_size
    planned = json.loads((run.path / "plan.json").read_text())["models"][0]
    assert set(planned["sizes"]["of_expert"].values()) == {one}
    for file in (run.path / "plans").iterdir():
        frees, row = json.loads(file.read_text())["frees"], arms.loc[file.stem]
        assert frees["parameters"] == row["n"] * one
        assert planned["frees"][file.stem] == {
            "experts": row["n"],
            "at_least": row["n"] * one,
            "at_most": row["n"] * one,
        }
        assert Plan.from_json(file).experts == Plan.parse(row["plan"]).for_model(model.anatomy).experts
    drawn = (run.path / "figures" / "reap-by-layer.svg").read_text()
    assert drawn.count('class="band"') == 1
    assert "least of every layer, together 32 by REAP" in page


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_cut_down_it_runs_from_capture_to_report(name: str, model: MoEModel, tmp_path: Path) -> None:
    recipe = cut_down(read_recipe(name))
    run = run_recipe(recipe, tmp_path / name, progress=False, open_model=lambda _: model)
    page = write_report(run.path).read_text("utf-8")
    _, tables, _ = opened(run.path)
    claims = tables["claims"]
    assert list(claims["name"]) == [claim.name for claim in recipe.claims]
    assert set(claims["verdict"]) <= {APPEARS, ABSENT, UNDECIDED}
    assert claims["steered"].notna().all(), claims[["name", "why"]]
    assert (claims["n_draws"] > 0).all()
    assert sorted(f.stem for f in (run.path / "figures").iterdir()) == sorted(claims["name"])
    assert recipe.title in page


def cut_down(recipe: Recipe, draws: dict[str, int] | None = None) -> Recipe:
    """Four prompts of every measured set, short answers, and one random draw beside each plan (or `draws`)."""
    data: dict[str, Any] = recipe.model_dump(mode="json", exclude_none=True)
    for spec in data["prompts"].values():
        spec["limit"] = 72 if spec["role"] == "ranking" else 4
        spec["max_new_tokens"] = min(spec["max_new_tokens"], 12)
    data["controls"] |= {"count": 1, "layer": 0, "usage": 0, "capability_draws": 1} | (draws or {})
    data["statistics"] |= {"bootstrap": 50, "permutations": 50}
    for ranking in data["rankings"]:
        if ranking["method"] in ("ftri", "npmi", "contrast"):
            ranking["options"] |= {"n_bootstrap": 0, "n_permutations": 0}
    return recipe_from(data)
