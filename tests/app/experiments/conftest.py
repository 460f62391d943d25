"""A run of the small recipe on a tiny model, and all its tables."""

from pathlib import Path
from typing import Any

import pytest
from workbench_app.experiments.recipe import Recipe
from workbench_app.experiments.run import run_recipe
from workbench_app.experiments.tables import TABLES, read_tables

from tests.support.recipes import MODEL, make_recipe
from workbench import load
from workbench.model import MoEModel


@pytest.fixture(scope="session")
def model() -> MoEModel:
    return load(MODEL, check=False)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="session")
def recipe(folder: Path) -> Recipe:
    return make_recipe(folder / "prompts")


@pytest.fixture(scope="session")
def tables(recipe: Recipe, folder: Path, model: MoEModel) -> dict[str, Any]:
    """Every table of a run of the small recipe."""
    done = run_recipe(recipe, folder / "run", progress=False, open_model=lambda _: model, own_functions=True)
    found = read_tables(folder / "run")
    assert set(found) == set(TABLES) - {"claims"}
    assert (
        done.units_run == len(list((folder / "run" / "units").glob("*"))) - 3
    )  # scores, arms and residuals are no units
    return found
