"""Run as a script by test_resume.py: three processes capture into one store, and one of them is killed."""

import json
import os
import signal
import sys
import time
from pathlib import Path

import torch

from tests.support.killing import count_forwards, forked
from tests.workbench.capturing.kill_captures import run
from workbench.loading import load


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    model, together = load("tiny/qwen3_moe", check=False), folder / "together"
    counts = [folder / f"forwards{rank}" for rank in range(3)]

    def rank(number: int) -> None:
        os.environ |= {"RANK": str(number), "WORLD_SIZE": "3"}
        count_forwards(model, counts[number])
        run(model, together)

    for count in counts:
        count.touch()
    first, second, doomed = [forked(lambda n=n: rank(n)) for n in range(3)]
    while counts[2].stat().st_size < 5:
        time.sleep(0.001)
    os.kill(doomed, signal.SIGKILL)
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in (first, second)]
    os.waitpid(doomed, 0)
    os.waitpid(forked(lambda: run(model, folder / "whole")), 0)
    report = {"codes": codes, "forwards": [count.stat().st_size for count in counts]}
    (folder / "report.json").write_text(json.dumps(report))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
