"""An engine in a process of its own, which is vLLM's default: it does what the one in this process does, and ends with its front.

A capture that was killed there in the middle goes on here, and ends as the same store. Where two processes share each layer
(tensor parallel) the routing is the native one, as the model is and under a plan.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest

from tests.serving.support.http import soon
from tests.serving.support.models import native, served
from tests.serving.support.own_process import PLANNED, PLANS, ROWS, captured, shards_in, what_it_does
from tests.serving.test_store import same_slots
from workbench import Plan, WorkbenchError, open_store


class Ran(NamedTuple):
    """What a process said, its exit status, and the store that it began."""

    said: dict[str, Any]
    status: int
    store: Path


def run(store: Path, n_processes: int) -> Ran:
    command = [sys.executable, "-m", "tests.serving.support.own_process", str(store), f"{n_processes}"]
    there = subprocess.run(command, capture_output=True, text=True)
    lines = [line for line in there.stdout.splitlines() if line.startswith("{")]
    assert lines, there.stderr[-2000:]
    return Ran(json.loads(lines[-1]), there.returncode, store)


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    return run(tmp_path_factory.mktemp("killed") / "store", 1)


def test_it_does_the_same(killed: Ran) -> None:
    here = what_it_does(served("demo"))
    assert killed.said["answers"] == here["answers"]
    assert killed.said["slots"] == json.loads(json.dumps(here["slots"]))
    assert len({tuple(answer) for answer in here["answers"]}) > len(ROWS), f"{PLANS} changed nothing"


def test_a_capture_that_was_killed_goes_on_and_ends_as_the_same_store(killed: Ran, tmp_path: Path) -> None:
    assert killed.status == -9
    with pytest.raises(WorkbenchError, match="half written"):
        open_store(killed.store)
    done = shards_in(killed.store)
    resumed, whole = (captured(served("demo"), folder) for folder in (killed.store, tmp_path / "whole"))
    assert 2 <= done < len(whole.manifest["shards"]) == len(resumed.manifest["shards"])
    assert resumed.check() == []
    tokens = [store.tokens.sort_values(["prompt_id", "position"])["token_id"].tolist() for store in (resumed, whole)]
    assert tokens[0] == tokens[1]
    assert same_slots(native("demo"), whole, resumed, Plan()) >= 0.9


def test_its_engine_ended_with_it(killed: Ran) -> None:
    assert killed.said["engines"]
    assert soon(lambda: not any(map(psutil.pid_exists, killed.said["engines"])))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    return run(tmp_path_factory.mktemp("shared") / "base", 2)


@pytest.mark.parametrize(("name", "text"), [("base", ""), (PLANNED, PLANS[1])])
def test_two_processes_that_share_each_layer_route_as_the_native_engine(
    shared: Ran, name: str, text: str, tmp_path: Path
) -> None:
    plan = Plan.parse(text) if text else Plan()
    assert shared.status == 0
    assert len(shared.said["engines"]) >= 3, "an engine and its two workers"
    here, there = captured(native("demo"), tmp_path / "here", plan=plan), open_store(shared.store.with_name(name))
    tokens = [store.tokens.sort_values(["prompt_id", "position"])["token_id"].tolist() for store in (here, there)]
    assert tokens[0] == tokens[1]
    assert same_slots(native("demo"), here, there, plan) >= 0.9
    slots = there.table("slots", ["layer", "expert"], [2])
    assert slots["expert"].isin([8, 20]).any() == (not text)
