"""A recipe spread over workers, without Ray: its tables, what is asked of whom, lost workers, refusals, the command line."""

import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from workbench_app.experiments import spread
from workbench_app.experiments.engine import Measuring, Unit
from workbench_app.experiments.recipe import Recipe
from workbench_app.experiments.run import run_recipe
from workbench_app.experiments.spread import run_spread
from workbench_app.experiments.tables import read_tables

from tests.support.recipes import make_few
from tests.workbench.replicas.fake_ray import FakeRay
from workbench import WorkbenchError
from workbench.model import MoEModel
from workbench.progress import Progress
from workbench.replicas import Cluster


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch, model: MoEModel) -> FakeRay:
    fake = FakeRay()
    monkeypatch.setitem(sys.modules, "ray", fake)
    monkeypatch.setattr(spread, "open_source", lambda _: model)
    return fake


@pytest.fixture
def few(tmp_path: Path) -> Recipe:
    return make_few(tmp_path / "prompts", controls={"count": 1, "layer": 0, "usage": 0})


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The units in the order in which they were measured."""
    seen, measure = list[str](), Measuring.measure

    def noting(self: Measuring, unit: Unit) -> None:
        seen.append(unit.path)
        measure(self, unit)

    monkeypatch.setattr(Measuring, "measure", noting)
    return seen


def spread_here(recipe: Recipe, out: Path, **how: Any) -> Any:
    return run_spread(recipe, out, Cluster(workers=4), own_functions=True, **{"progress": False, **how})


def test_the_tables_are_those_of_one_process(
    ray: FakeRay, few: Recipe, tmp_path: Path, model: MoEModel, measured: list[str]
) -> None:
    done = spread_here(few, tmp_path / "many")
    assert done.units_run == len(measured) == len(set(measured))
    run_recipe(few, tmp_path / "one", progress=False, open_model=lambda _: model, own_functions=True)
    many, one = (read_tables(tmp_path / name) for name in ("many", "one"))
    assert many.keys() == one.keys()
    for name, table in one.items():
        pd.testing.assert_frame_equal(many[name], table, check_exact=True, obj=name)
    assert not ray.is_running


def test_a_finished_run_starts_no_cluster_and_a_begun_one_goes_on(
    ray: FakeRay, few: Recipe, tmp_path: Path, measured: list[str]
) -> None:
    spread_here(few, tmp_path / "many")
    assert spread_here(few, tmp_path / "many").units_run == 0
    assert len(ray.begun) == 1
    lost = measured[-1]
    (tmp_path / "many" / lost).unlink()
    (tmp_path / "many" / "tables" / "units.parquet").unlink()
    measured.clear()
    assert spread_here(few, tmp_path / "many").units_run == 1
    assert measured == [lost]


def test_what_lost_workers_had_others_do(ray: FakeRay, few: Recipe, tmp_path: Path, measured: list[str]) -> None:
    ray.lose = 3
    with pytest.warns(UserWarning, match="A replica was lost 4 times"):
        done = spread_here(few, tmp_path / "many")
    assert done.units_run == len(measured) == len(set(measured))


def test_where_all_are_lost_it_says_how_to_go_on(ray: FakeRay, few: Recipe, tmp_path: Path) -> None:
    ray.lose = 4
    with pytest.raises(WorkbenchError, match=r"^All 4 workers were lost .* run the same again, it goes on"):
        spread_here(few, tmp_path / "many")
    assert not ray.is_running


def test_how_far_all_are_is_one_bar_that_ends_full(ray: FakeRay, few: Recipe, tmp_path: Path) -> None:
    seen = list[Progress]()
    spread_here(few, tmp_path / "many", progress=seen.append)
    done = [p.done for p in seen]
    assert done == sorted(done)
    assert all(p.done <= p.total for p in seen)
    assert seen[-1].done == seen[-1].total > 0
