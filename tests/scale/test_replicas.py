"""Replicas on a real Ray: two of four are killed, the driver is, and the store is that of one local process."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.scale.capture_there import captured
from tests.support.stores import assert_same_content
from workbench import open_store

pytest.importorskip("ray", reason="ray is not installed; make test-scale installs it")
ROOT = Path(__file__).parents[2]
REPLICA = "ray::Replica"


@contextmanager
def driver(place: Path, workers: int) -> Iterator[subprocess.Popen[bytes]]:
    """The driver, once three shards are complete; whatever it began ends with the block."""
    process = subprocess.Popen([sys.executable, "-m", "tests.scale.spread", str(place), str(workers)], cwd=ROOT)
    try:
        while len(list((place / "shards").glob("*.json"))) < 3:
            assert process.poll() is None
            time.sleep(0.05)
        yield process
    finally:
        process.kill()
        process.wait()


def replicas_of(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    begun = psutil.Process(process.pid).children(recursive=True)
    return [one for one in begun if one.cmdline() and one.cmdline()[0].startswith(REPLICA)]


def test_two_of_four_replicas_are_killed(tmp_path: Path) -> None:
    with driver(tmp_path / "many", 4) as process:
        replicas = replicas_of(process)
        for one in replicas[:2]:
            one.kill()
        assert process.wait(timeout=240) == 0
    assert len(replicas) >= 2
    assert_same_content(open_store(tmp_path / "many"), captured(tmp_path / "alone"))


def test_the_driver_is_killed_and_the_same_is_asked_again(tmp_path: Path) -> None:
    with driver(tmp_path / "many", 2) as process:
        replicas = replicas_of(process)
    _, left = psutil.wait_procs(replicas, timeout=60)
    assert left == []  # none goes on without the driver
    assert not (tmp_path / "many" / "manifest.json").exists()
    with driver(tmp_path / "many", 2) as process:
        assert process.wait(timeout=240) == 0
    assert_same_content(open_store(tmp_path / "many"), captured(tmp_path / "alone"))
