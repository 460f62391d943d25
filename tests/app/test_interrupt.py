"""Ctrl-C at any moment, while libraries are being imported as well."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

STEER = [
    sys.executable,
    "-m",
    "workbench_app",
    "steer",
    "demo",
    "--prompt",
    "hello",
    "--off",
    "L0E1",
    "--tokens",
    "400",
]


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs Linux to see which libraries are loaded")
@pytest.mark.parametrize("after", [0.0, *(pytest.param(s, marks=pytest.mark.slow) for s in (0.4, 1.2))])
def test_ctrl_c_is_one_word_and_130(after):
    process = subprocess.Popen(STEER, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    maps = Path(f"/proc/{process.pid}/maps")
    while "libtorch_cpu" not in maps.read_text():  # in the middle of importing torch, and somewhat later
        time.sleep(0.01)
    time.sleep(after)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert said.strip().splitlines()[-1] == "Stopped."
    assert "Traceback" not in said


def test_an_interrupt_inside_of_a_librarys_own_set_up_does_not_abort(tmp_path):
    """An exception that lands in C code which is being imported ends in an abort; here a library plays that part."""
    aborting = """import os, signal, time
try:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(5)
except BaseException:
    os.abort()
"""
    (tmp_path / "typer.py").write_text(aborting)
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    ended = subprocess.run(STEER, capture_output=True, text=True, timeout=60, env=environment)
    assert (ended.returncode, ended.stderr.strip()) == (130, "Stopped.")
