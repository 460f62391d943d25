"""A recipe killed at more than twenty moments and resumed yields the tables of an uninterrupted run."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from workbench_app.experiments.tables import TABLES
from workbench_app.experiments.tables.schema import KEYS

ROOT = Path(__file__).parents[3]
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("killed")
    subprocess.run(
        [sys.executable, "-m", "tests.app.experiments.kill_experiments", str(path), "0"],
        check=True,
        cwd=ROOT,
        timeout=500,
    )
    return path


@pytest.fixture(scope="module")
def report(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "report.json").read_text())


def test_it_was_killed_in_every_part_of_a_run(report):
    lives = report["lives"]
    parts = {life["moment"][0] for life in lives}
    assert len(lives) >= 20
    assert parts == {"forwards", "plan.json", "stores", "-scores-", "-arms", "units", "tables"}
    halfway = {life["units"] for life in lives if life["moment"][0] in ("forwards", "units")}
    assert len(halfway) >= 8, "at many different numbers of finished units"
    assert any(0 < life["tables"] < len(TABLES) - 1 for life in lives)


def test_the_tables_are_those_of_an_uninterrupted_run(folder, report):
    assert report["whole"]
    assert report["finished"]
    for name in sorted(set(TABLES) - {"claims"}):
        killed, whole = (pq.read_table(folder / run / "tables" / f"{name}.parquet") for run in ("killed", "whole"))
        assert len(whole), name
        # what the prompts of a forward share is computed once, and a run that goes on has other forwards: floats are rounded so
        pd.testing.assert_frame_equal(killed.to_pandas(), whole.to_pandas(), rtol=1e-3, atol=1e-4, obj=name)
        assert whole.select(KEYS[name]).group_by(KEYS[name]).aggregate([]).num_rows == len(whole), f"{name} has a key"
    for name in ("recipe.toml",):
        assert (folder / "killed" / name).read_bytes() == (folder / "whole" / name).read_bytes()
    assert not list((folder / "killed" / ".writing").glob("*+*"))


def test_a_finished_run_runs_no_forward(report):
    assert report["again"]
    assert report["forwards_again"] == 0
