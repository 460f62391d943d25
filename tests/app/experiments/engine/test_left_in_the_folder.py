"""What a run leaves in its folder beside units and tables: plans as files, and how large the residual stream gets."""

from pathlib import Path
from typing import Any

import pytest
from workbench_app.experiments.engine import (
    Arm,
    begun,
    plan_path,
    read_unit,
    residuals_path,
    write_arms,
    write_plans,
    write_residuals,
)
from workbench_app.experiments.recipe import Recipe, read_sets

from tests.app.experiments.runs import made_recipe
from tests.app.world import store_at
from tests.support.recipes import make_recipe
from workbench import Plan, WorkbenchError

TWO = {"models": ["some/model", "other"]}


def test_the_largest_value_of_the_residual_stream_is_kept_layer_by_layer(tmp_path: Path) -> None:
    recipe, store = made_recipe(), store_at(tmp_path / "store")
    path = tmp_path / residuals_path(recipe, 3, "asked")
    write_residuals(tmp_path, recipe, 3, {"asked": store})
    assert path.name == "03-residuals-00.parquet"
    assert read_unit(path).to_pydict() == {"layer": [-1, 0, 1], "largest": [200.0, 201.0, 202.0]}
    before = path.stat().st_mtime_ns
    write_residuals(tmp_path, recipe, 3, {"asked": store})
    assert path.stat().st_mtime_ns == before


class Without:
    """A store that kept no residual stream."""

    def has(self, name: str) -> bool:
        return name != "residual"


def test_a_capture_without_it_leaves_nothing(tmp_path: Path) -> None:
    without: Any = Without()
    write_residuals(tmp_path, made_recipe(), 0, {"asked": without})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("recipe", "names"), [(made_recipe(), ["P01.json"]), (made_recipe(**TWO), ["01-P01.json"])])
def test_plans_that_could_be_run_are_files_for_the_command_line(
    tmp_path: Path, recipe: Recipe, names: list[str]
) -> None:
    plan, number = Plan.parse("off L0E1; scale L1E2=3"), len(recipe.models) - 1
    arms = (Arm("base", "base"), Arm("P01", "plan", json=plan.to_json()), Arm("P02", "plan", reason="too many"),
            Arm("P01.count.0", "random", of="P01", json=plan.to_json()))  # fmt: skip
    write_arms(tmp_path, number, arms)
    write_plans(tmp_path, recipe, number)
    assert [file.name for file in (tmp_path / "plans").iterdir()] == names
    assert Plan.from_json(plan_path(tmp_path, recipe, recipe.models[number].source, "P01")) == plan


def test_a_plan_without_a_recipe_is_another_folders(tmp_path: Path) -> None:
    recipe, run = make_recipe(tmp_path / "prompts"), tmp_path / "run"
    run.mkdir()
    Plan.parse("off L0E1").to_json(run / "plan.json")
    (run / "findings.json").write_text("{}", encoding="utf-8")
    with pytest.raises(WorkbenchError, match=r"holds other files \('findings.json'\); choose a folder"):
        begun(run, recipe, read_sets(recipe))
