"""A process that has the heavy libraries imported and forks for each mistake: tests start in a moment.

Reads lines of JSON {"tree", "tests", "seconds", "log"} and answers each with a line {"outcome", "by", "tests"}. Run by path, so
that nothing of a checkout is imported before the fork; the forked process then runs the checkout `tree`.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

HEAVY = ("torch", "transformers", "pandas", "pyarrow.parquet", "hypothesis", "pytest", "typer.testing", "duckdb")


def _run(asked: dict[str, Any], verdict: Path) -> None:
    """In the forked process: pytest over the checkout."""
    os.setpgid(0, 0)
    log = os.open(asked["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1), os.dup2(log, 2)
    tree = asked["tree"]
    os.environ |= {"PYTHONPATH": tree, "WORKBENCH_VERDICT": str(verdict), "PYTHONDONTWRITEBYTECODE": "1"}
    sys.dont_write_bytecode = True
    os.chdir(tree)
    sys.path.insert(0, tree)
    import pytest

    pytest.main([*asked["tests"], "-q", "-p", "tests.mutants.verdict", "-p", "no:xdist", "--no-header", "--tb=short"])


def _waited(pid: int, seconds: float) -> bool:
    """Whether it ended in time; else it and its children are killed."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if os.waitpid(pid, os.WNOHANG)[0]:
            return True
        time.sleep(0.02)
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return False


def _answer(asked: dict[str, Any]) -> dict[str, Any]:
    verdict = Path(asked["log"] + ".json")
    verdict.unlink(missing_ok=True)
    pid = os.fork()
    if not pid:
        try:
            _run(asked, verdict)
        finally:
            os._exit(0)
    if not _waited(pid, asked["seconds"]):
        return {"outcome": "timeout", "by": f"{asked['seconds']:.0f} s", "tests": len(asked["tests"])}
    if not verdict.exists():
        return {"outcome": "crashed", "by": "pytest did not start", "tests": 0}
    return json.loads(verdict.read_text())


def main() -> None:
    """Answers until its input ends."""
    sys.path[:] = [p for p in sys.path if Path(p or ".").resolve() != Path(__file__).parent]
    import torch

    torch.set_num_threads(1)
    for name in HEAVY:
        __import__(name)
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        print(json.dumps(_answer(json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
