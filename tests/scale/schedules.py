"""A capture by four replicas to the S3 server, under a schedule of mishaps: it has to end in the store of one local process.

Run as a script by `make schedules`: random schedules, twenty of them or N, drawn by SEED.

python -m tests.scale.schedules SEED [N]
"""

import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from tests.scale.capture_there import PROMPTS, captured
from tests.scale.replicas import ROOT, replicas_of
from tests.scale.s3_server import S3Server
from tests.support.stores import assert_same_content
from workbench import open_store
from workbench.capturing.claims import STALE_AFTER
from workbench.paths import Address
from workbench.shards import receipt_path
from workbench.storage import disk_of

WORKERS, OUTAGE, STALE = 4, 10.0, "10"
LATEST = len(PROMPTS) * 2 // 3
"""Mishaps come while no more shards than this are complete."""


class Schedule(NamedTuple):
    """After how many complete shards a replica is killed, each time another, and after how many the server is for 10 seconds."""

    kills: tuple[int, ...] = ()
    outage: int | None = None

    @property
    def moments(self) -> list[tuple[int, str]]:
        """In order."""
        outages = [] if self.outage is None else [(self.outage, "outage")]
        return sorted([*((n, "kill") for n in self.kills), *outages])


def drawn(draw: random.Random) -> Schedule:
    """Two kills at random moments, an outage, or both."""
    kind = draw.choice(["kills", "outage", "both"])
    kills = sorted(draw.randrange(1, LATEST) for _ in range(2)) if kind != "outage" else []
    return Schedule(tuple(kills), draw.randrange(1, LATEST) if kind != "kills" else None)


def carried_out(schedule: Schedule, server: S3Server, folder: Path) -> None:
    """Captures under the schedule, to a server that runs; raises `AssertionError` unless the store is that of one process."""
    place = Address("s3", server.bucket, "stores/x")
    command = [sys.executable, "-m", "tests.scale.spread", str(place), str(WORKERS)]
    environment = {**os.environ, **server.environment(), STALE_AFTER: STALE}
    driver = subprocess.Popen(command, cwd=ROOT, env=environment)
    killed = set[int]()
    try:
        for n, what in schedule.moments:
            while (done := n_complete(place)) < n:
                assert driver.poll() is None, f"it ended with {driver.returncode} after {done} shards"
                time.sleep(0.05)
            kill_one(driver, killed) if what == "kill" else outage(server)
        assert driver.wait(timeout=400) == 0
    finally:
        driver.kill()
        driver.wait()
    assert len(killed) == len(schedule.kills)
    check(place, folder)


def n_complete(place: Address) -> int:
    return len(disk_of(place).list("shards"))


def kill_one(driver: "subprocess.Popen[bytes]", killed: set[int]) -> None:
    """One that was not killed yet; a successor counts as another."""
    while not (left := [one for one in replicas_of(driver) if one.pid not in killed]):
        assert driver.poll() is None
    left[0].kill()
    killed.add(left[0].pid)


def outage(server: S3Server) -> None:
    server.stop()
    time.sleep(OUTAGE)
    server.start()


def check(place: Address, folder: Path) -> None:
    """Nothing lost, nothing twice, nothing left over."""
    store = open_store(place)
    assert_same_content(store, captured(folder / "alone"))
    assert store.check() == []
    receipts = {receipt_path(n) for n in range(len(PROMPTS))}
    listed = {file["path"] for file in store.listed}
    assert {entry.key for entry in disk_of(place).list()} == listed | receipts | {"plan.json", "manifest.json"}


def main(seed: int, n: int) -> None:
    draw = random.Random(seed)
    for i in range(n):
        schedule, begun = drawn(draw), time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            server = S3Server(Path(folder), f"schedules-{i}")  # a bucket is reached once a process
            os.environ |= server.environment()
            server.start()
            try:
                carried_out(schedule, server, Path(folder))
            finally:
                server.stop()
        print(f"seed {seed}, schedule {i}: {schedule}, {time.monotonic() - begun:.0f} s", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 20)
