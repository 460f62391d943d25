"""An engine in a process of its own, which is vLLM's default, does what the one in this process does."""

import json
import subprocess
import sys

from tests.serving.support.models import served
from tests.serving.support.own_process import PLANS, ROWS, what_it_does


def test_it_does_the_same() -> None:
    there = subprocess.run([sys.executable, "-m", "tests.serving.support.own_process"], capture_output=True, text=True)
    assert there.returncode == 0, there.stderr[-2000:]
    said, here = json.loads(there.stdout.splitlines()[-1]), what_it_does(served("demo"))
    assert said["answers"] == here["answers"]
    assert said["slots"] == json.loads(json.dumps(here["slots"]))
    assert len({tuple(answer) for answer in here["answers"]}) > len(ROWS), f"{PLANS} changed nothing"
