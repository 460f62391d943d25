"""The five bundled recipes: they read, and cut down to a few prompts and one draw they run from capture to report."""

from pathlib import Path
from typing import Any

import pytest
from workbench_app.experiments.recipe import Recipe, read_recipe, recipe_from
from workbench_app.experiments.report import write_report
from workbench_app.experiments.report.report import opened
from workbench_app.experiments.run import checked_sets, run_recipe
from workbench_app.experiments.tables import ABSENT, APPEARS, UNDECIDED

from workbench import MoEModel, load

RECIPES = ("mote", "rice", "super_experts", "steermoe", "safex")
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


def cut_down(recipe: Recipe) -> Recipe:
    """Four prompts of every measured set, short answers, and one random draw beside each plan."""
    data: dict[str, Any] = recipe.model_dump(mode="json", exclude_none=True)
    for spec in data["prompts"].values():
        spec["limit"] = 72 if spec["role"] == "ranking" else 4
        spec["max_new_tokens"] = min(spec["max_new_tokens"], 12)
    data["controls"] |= {"count": 1, "layer": 0, "usage": 0, "capability_draws": 1}
    data["statistics"] |= {"bootstrap": 50, "permutations": 50}
    for ranking in data["rankings"]:
        if ranking["method"] in ("ftri", "npmi", "contrast"):
            ranking["options"] |= {"n_bootstrap": 0, "n_permutations": 0}
    return recipe_from(data)
