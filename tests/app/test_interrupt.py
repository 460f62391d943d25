"""Ctrl-C at any moment, while libraries are being imported as well."""

import signal
import subprocess
import sys
import time

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


@pytest.mark.parametrize(
    "after", [0.8, pytest.param(1.1, marks=pytest.mark.slow), pytest.param(2.0, marks=pytest.mark.slow)]
)
def test_ctrl_c_is_one_word_and_130(after):
    process = subprocess.Popen(STEER, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(after)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.strip().splitlines()[-1] == "Stopped."
    assert "Traceback" not in said
