"""Run as a script by test_resume.py: captures that are killed again and again, in processes forked from one loaded model.

    python -m tests.workbench.capturing.kill_captures FOLDER KILLS SEED

Each life of the capture runs in a forked child. Its forwards are counted by bytes appended to a file, before each forward.
Half of the lives are killed after a random number of forwards and a random pause; the others wait inside a write, a flush,
a rename, or between the renames of one shard (patched in here, not in the product) and are killed there.
"""

import json
import os
import random
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch

from tests.support.killing import count_forwards, ended_well, forked, kill_when, wait_for_death
from workbench import capture, storage
from workbench.loading import load
from workbench.model import MoEModel

PAUSES = ("write", "close", "flush", "before rename", "after rename")
WORDS = ["one", "two", "three", "four", "five", "six", "seven"]


def prompts(n: int = 400) -> list[dict[str, str]]:
    draw = random.Random(1)
    return [{"id": f"p{i}", "text": " ".join(draw.choices(WORDS, k=4))} for i in range(n)]


def run(model: MoEModel, folder: Path) -> Any:
    """The capture that is killed: one prompt a batch, three to five batches a shard, about 100 shards."""
    return capture(model, prompts(), folder, batch_tokens=1, shard_tokens=75, progress=False)


def pause_at(where: str, nth: int, marker: Path) -> None:
    """From the nth time on that the capture comes to `where`, it says so and waits to be killed."""
    seen = [0]

    def wait() -> None:
        seen[0] += 1
        if seen[0] >= nth:
            wait_for_death(marker)

    def before(function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *args, **kwargs: (wait(), function(*args, **kwargs))[1]

    def after(function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *args, **kwargs: (function(*args, **kwargs), wait())[0]

    if where == "write":
        pq.ParquetWriter.write_table = after(pq.ParquetWriter.write_table)
    elif where == "close":
        pq.ParquetWriter.close = before(pq.ParquetWriter.close)
    elif where == "flush":
        os.fsync = before(os.fsync)
    elif where == "before rename":
        os.replace = before(os.replace)
    else:
        os.replace = after(os.replace)


def done(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(file.read_text()) for file in (folder / "shards").glob("*.json")]


def life(model: MoEModel, folder: Path, number: int, draw: random.Random) -> dict[str, Any]:
    """One life: begun, killed, and what it had done by then."""
    forwards, marker = folder.with_name(f"forwards{number}"), folder.with_name(f"paused{number}")
    forwards.touch()
    before = {receipt["shard"] for receipt in done(folder)}
    where = PAUSES[number // 2 % len(PAUSES)] if number % 2 else None
    target = draw.randint(1, 10)

    def work() -> None:
        count_forwards(model, forwards)
        if where:
            pause_at(where, draw.randint(1, 18), marker)
        run(model, folder)

    pid = forked(work)
    kill_when(
        pid,
        marker.exists if where else lambda: forwards.stat().st_size >= target,
        lambda: 0 if where else draw.random() * 0.03,
        "the capture",
    )
    new = [receipt for receipt in done(folder) if receipt["shard"] not in before]
    return {
        "where": where or "anywhere",
        "forwards": forwards.stat().st_size,
        "kept": sum(receipt["forwards"] for receipt in new),
        "shards_before": len(before),
        "complete": (folder / "manifest.json").exists(),
    }


def main(folder: Path, kills: int, seed: int) -> None:
    torch.set_num_threads(1)
    model, draw = load("tiny/qwen3_moe", check=False), random.Random(seed)
    killed, whole, rest = folder / "killed", folder / "whole", folder / "rest"
    rest.touch()

    def first_shard() -> None:
        original = storage.write_json

        def stop(store: Path, path: str, value: Any, **how: Any) -> Any:
            written = original(store, path, value, **how)
            os.kill(os.getpid(), signal.SIGKILL)  # the first receipt exists
            return written

        storage.write_json = stop
        run(model, killed)

    os.waitpid(forked(first_shard), 0)
    lives = [life(model, killed, number, draw) for number in range(kills)]
    had = sorted(receipt["shard"] for receipt in done(killed))

    def finish() -> None:
        count_forwards(model, rest)
        run(model, killed)

    report = {"lives": lives, "finished": ended_well(forked(finish))}
    report["whole"] = ended_well(forked(lambda: run(model, whole)))
    report |= {"rest": rest.stat().st_size, "shards_before_rest": had}
    (folder / "report.json").write_text(json.dumps(report))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
