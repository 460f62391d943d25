"""A killed capture goes on where it stopped: at most one shard is done again, and nothing differs in the end."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.stores import assert_same_content
from workbench.store import open_store

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@pytest.mark.slow
def test_killed_at_every_kind_of_moment(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.workbench.capturing.kill_captures", str(tmp_path), "26", "0"]
    subprocess.run(command, check=True, cwd=ROOT, timeout=500)
    report: dict[str, Any] = json.loads((tmp_path / "report.json").read_text())
    whole, killed = open_store(tmp_path / "whole"), open_store(tmp_path / "killed")
    assert report["finished"]
    assert report["whole"]

    shards = whole.manifest["shards"]
    assert len(shards) >= 20
    lives = report["lives"]
    assert len(lives) >= 20
    assert all(life["shards_before"] >= 1 and not life["complete"] for life in lives), (
        "between first shard and manifest"
    )
    assert sum(life["where"] != "anywhere" for life in lives) >= 5, "inside write or rename"

    one_shard = max(shard["forwards"] for shard in shards)
    assert all(life["forwards"] - life["kept"] <= one_shard for life in lives), "at most one shard is lost"
    rest = [shard["forwards"] for shard in shards if shard["shard"] not in report["shards_before_rest"]]
    assert report["rest"] == sum(rest), "the last resume does what was left and nothing twice"

    assert_same_content(killed, whole)
    assert killed.check() == whole.check() == []
    assert not list((killed.path / ".writing").iterdir())


@pytest.mark.slow
def test_three_processes_fill_one_store_and_one_dies(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "tests.workbench.capturing.join_captures", str(tmp_path)],
        check=True,
        cwd=ROOT,
        timeout=300,
    )
    report: dict[str, Any] = json.loads((tmp_path / "report.json").read_text())
    whole, together = open_store(tmp_path / "whole"), open_store(tmp_path / "together")
    assert report["codes"] == [0, 0]
    assert_same_content(together, whole)
    assert together.check() == []
    total = sum(shard["forwards"] for shard in whole.manifest["shards"])
    one_shard = max(shard["forwards"] for shard in whole.manifest["shards"])
    assert total <= sum(report["forwards"]) <= total + one_shard, "only the dead process's shard is done twice"
    assert all(report["forwards"]), "every process took part"
