"""Ctrl-C at any moment, while libraries are being imported as well."""

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
@pytest.mark.parametrize("after", [0.0, 0.4, pytest.param(1.2, marks=pytest.mark.slow)])
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
