"""An engine's process ends with the one that started it, however that ended; other processes are left alone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.serving.support.http import soon

SCRIPT = """
import multiprocessing, os, sys, time
from workbench.serving.plugin import Settings, end_with_parent, started_with

def child(listed):
    end_with_parent()
    with open(listed, "w") as out:
        out.write(str(os.getpid()))
    time.sleep(600)

if __name__ == "__main__":
    if {asked}:
        begun = started_with(Settings())
        begun.__enter__()
    multiprocessing.get_context("spawn").Process(target=child, args=(sys.argv[1],)).start()
    time.sleep(600)
"""


def is_there(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("asked", [True, False], ids=["an engine", "somebody else"])
def test_a_child_of_a_process_that_is_killed(asked: bool, tmp_path: Path) -> None:
    (tmp_path / "parent.py").write_text(SCRIPT.replace("{asked}", f"{asked}"), encoding="utf-8")
    listed = tmp_path / "pid"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([os.getcwd(), *sys.path])}
    parent = subprocess.Popen([sys.executable, str(tmp_path / "parent.py"), str(listed)], env=environment)
    assert soon(lambda: listed.is_file() and listed.read_text())
    child = int(listed.read_text())
    try:
        assert is_there(child)
        parent.kill()
        parent.wait()
        assert soon(lambda: not is_there(child), 20 if asked else 1) == asked
    finally:
        if is_there(child):
            os.kill(child, 9)
