"""One mistake after the other against its tests, a process a core, every answer kept as soon as it is there."""

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from tests.mutants.checkout import checkout, planted
from tests.mutants.mutant import Mutant

SECONDS = 240.0  # for the tests of one mistake


class Outcome(NamedTuple):
    """How a mutant ended: caught, crashed, survived, timeout, or without a test (uncovered); and by which test."""

    name: str
    outcome: str
    by: str
    tests: int


class Forked:
    """A process that forks for each mistake (`forking`), with its own checkout."""

    def __init__(self, tree: Path, log: Path) -> None:
        self.tree, self.log = checkout(tree).resolve(), log.resolve()
        surroundings = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        script = Path(__file__).with_name("forking.py")
        self.process = subprocess.Popen(
            [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=surroundings
        )

    def ask(self, tests: list[str], seconds: float = SECONDS) -> dict[str, Any]:
        """The verdict of these tests on what stands in the checkout."""
        asked = {"tree": str(self.tree), "tests": tests, "seconds": seconds, "log": str(self.log)}
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def outcome(self, mutant: Mutant, tests: list[str]) -> Outcome:
        """How the mutant ends."""
        if not tests:
            return Outcome(mutant.name, "uncovered", "", 0)
        with planted(self.tree, mutant):
            return Outcome(mutant.name, **self.ask(tests))

    def close(self) -> None:
        """Ends the process."""
        self.process.communicate()


def run(
    mutants: Iterable[Mutant], tests: Callable[[Mutant], list[str]], folder: Path, workers: int
) -> Iterable[tuple[Mutant, Outcome]]:
    """Each mutant with its outcome, as they come; those that `folder`'s results hold already are not run again."""
    results = folder / "results.jsonl"
    known = {o.name: o for o in map(_read, results.read_text().splitlines())} if results.exists() else {}
    left: queue.SimpleQueue[Mutant] = queue.SimpleQueue()
    done: queue.SimpleQueue[tuple[Mutant, Outcome] | Exception] = queue.SimpleQueue()
    waiting = 0
    for mutant in mutants:
        if mutant.name in known:
            yield mutant, known[mutant.name]
        else:
            left.put(mutant)
            waiting += 1

    def work(number: int) -> None:
        try:
            forked = Forked(folder / f"tree{number}", folder / f"worker{number}.log")
            while True:
                mutant = left.get_nowait()
                done.put((mutant, forked.outcome(mutant, tests(mutant))))
        except queue.Empty:
            forked.close()  # pyright: ignore[reportPossiblyUnbound]
        except Exception as error:  # noqa: BLE001 - handed to the thread that waits
            done.put(error)

    for number in range(workers):
        threading.Thread(target=work, args=(number,), daemon=True).start()
    for _ in range(waiting):
        found = done.get()
        if isinstance(found, Exception):
            raise found
        with results.open("a") as file:
            file.write(json.dumps(found[1]) + "\n")
        yield found


def _read(line: str) -> Outcome:
    return Outcome(*json.loads(line))
