"""What plans and captures cost inside vLLM: engines with and without the plugin in turn, each in a process of its own.

Run from the workbench's environment, with vLLM's beside it (`make test-serving` makes it): SERVING says where, .serving-venv
unless it is said. Intervals are of the median, 95 %, from the order of the pairs.
"""

import os
import statistics
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from scipy.stats import binom

from tests.benchmarks.serving_engine import N_REQUESTS, N_TOKENS
from tests.benchmarks.timing import Ratio, seconds

PYTHON = Path(os.environ.get("SERVING", ".serving-venv")) / "bin" / "python"
LIMITS = {"demo": (1.05, 1.20, 1.30), "smollm2-moe": (1.03, 1.05, 1.10)}
"""A plan in every request; ids and weights captured; logits as well."""
IDLE = 1.04


class Engine:
    """One engine in its process."""

    def __init__(self, process: Any) -> None:
        self.process = process
        assert self._line() == "ready"

    def run(self, kind: str) -> None:
        self.process.stdin.write(f"{kind}\n")
        self.process.stdin.flush()
        made = self._line()
        assert made == str(N_REQUESTS * N_TOKENS), made

    def _line(self) -> str:
        for line in self.process.stdout:
            if line.strip() == "ready" or line.strip().isdigit():
                return line.strip()
        raise AssertionError(f"the engine ended with {self.process.wait()}")


@contextmanager
def engine(model: str, kind: str) -> Iterator[Engine]:
    command = [str(PYTHON), "-m", "tests.benchmarks.serving_engine", model, kind]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Engine(process)
        finally:
            process.kill()


def ratios(pairs: int, models: tuple[str, ...] = ("demo", "smollm2-moe")) -> Iterator[Ratio]:
    for model in models:
        with ExitStack() as running:
            stock, idle, work = (running.enter_context(engine(model, kind)) for kind in ("stock", "idle", "work"))
            yield _ratio(f"{model}: the plugin is there and idle", idle, "base", stock, pairs, IDLE)
            yield _ratio(f"{model}: it is at work, and no request has a plan", work, "base", stock, pairs, None)
            what = ("a plan in every request", "ids and weights captured", "logits captured as well")
            for kind, said, limit in zip(("plan", "capture", "logits"), what, LIMITS[model], strict=True):
                yield _ratio(f"{model}: {said}", work, kind, stock, pairs, limit)


def _ratio(what: str, one: Engine, kind: str, stock: Engine, pairs: int, limit: float | None) -> Ratio:
    one.run(kind), stock.run("base")
    found = sorted(seconds(lambda: one.run(kind)) / seconds(lambda: stock.run("base")) for _ in range(pairs))
    low = max(int(binom.ppf(0.025, pairs, 0.5)) - 1, 0)
    return Ratio(what, "stock vLLM", statistics.median(found), found[low], found[-1 - low], limit)
