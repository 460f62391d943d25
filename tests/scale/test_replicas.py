"""Replicas on a real Ray: replicas are killed, the driver is, and the store is that of one local process."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.scale.capture_there import captured
from tests.scale.replicas import ROOT, replicas_of
from tests.support.stores import assert_same_content
from workbench import open_store

pytest.importorskip("ray", reason="ray is not installed; make test-scale installs it")


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


def test_replicas_of_four_are_killed_until_two_were(tmp_path: Path) -> None:
    with driver(tmp_path / "many", 4) as process:
        killed = list[psutil.Process]()
        while process.poll() is None and len(killed) < 2:
            for one in [one for one in replicas_of(process) if one not in killed][:1]:
                one.kill()
                killed.append(one)
        assert process.wait(timeout=240) == 0
    assert killed
    assert_same_content(open_store(tmp_path / "many"), captured(tmp_path / "alone"))


def test_the_driver_is_killed_and_the_same_is_asked_again(tmp_path: Path) -> None:
    with driver(tmp_path / "many", 2) as process:
        replicas = replicas_of(process)
    _, left = psutil.wait_procs(replicas, timeout=60)
    assert left == []  # none goes on without the driver
    with driver(tmp_path / "many", 2) as process:
        assert process.wait(timeout=240) == 0
    assert_same_content(open_store(tmp_path / "many"), captured(tmp_path / "alone"))
