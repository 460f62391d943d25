"""A recipe on four workers of a real Ray gives the tables of one process, also where one of them is killed."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from workbench_app.experiments.run import run_recipe
from workbench_app.experiments.tables import read_tables

from tests.scale.replicas import AT_WORK, ROOT, replicas_of
from tests.support.recipes import make_recipe

pytest.importorskip("ray", reason="ray is not installed; make test-scale installs it")


def test_a_recipe_on_four_workers_of_which_one_is_killed_gives_the_tables_of_one(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.scale.spread_recipe", str(tmp_path)]
    driver = subprocess.Popen(command, cwd=ROOT)
    try:
        while len(answers(tmp_path)) < 3:
            assert driver.poll() is None
            time.sleep(0.05)
        while not (at_work := replicas_of(driver, AT_WORK)):
            assert driver.poll() is None
        at_work[0].kill()
        assert driver.wait(timeout=240) == 0
    finally:
        driver.kill()
        driver.wait()
    run_recipe(make_recipe(tmp_path), tmp_path / "one", progress=False, own_functions=True)
    assert_same_tables(read_tables(tmp_path / "many"), read_tables(tmp_path / "one"))


def answers(folder: Path) -> list[Path]:
    return list((folder / "many" / "units").glob("*-answers-*"))


def assert_same_tables(many: dict[str, Any], one: dict[str, Any]) -> None:
    assert many.keys() == one.keys()
    for name, table in one.items():
        pd.testing.assert_frame_equal(many[name], table, check_exact=True, obj=name)
