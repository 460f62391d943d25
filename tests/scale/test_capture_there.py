"""Several processes capture to a real S3 server: one is killed, the server is, and the store is that of one process."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.scale.s3_server import S3Server
from tests.scale.schedules import check
from workbench.paths import Address
from workbench.storage import disk_of

ROOT = Path(__file__).parents[2]


def together(server: S3Server, n: int, meanwhile: Callable[[list[subprocess.Popen[bytes]]], None]) -> Address:
    """Begins n processes, does something once three shards are complete and each is at work, and waits for all."""
    place = Address("s3", server.bucket, "stores/x")
    command = [sys.executable, "-m", "tests.scale.capture_there", str(place)]
    processes = [
        subprocess.Popen(command, cwd=ROOT, env={**os.environ, "RANK": str(rank), "WORLD_SIZE": str(n)})
        for rank in range(n)
    ]
    while len(disk_of(place).list("shards")) < 3 or len(at_work(place)) < n:
        assert all(process.poll() is None for process in processes)
        time.sleep(0.05)
    meanwhile(processes)
    for process in processes:
        process.wait(timeout=200)
    return place


def at_work(place: Address) -> set[str]:
    """Who has claimed a shard."""
    disk = disk_of(place)
    return {json.loads(disk.read(entry.key))["owner"] for entry in disk.list("claims")}


def test_of_three_writers_one_is_killed(own_server: S3Server, tmp_path: Path) -> None:
    def kill_one(processes: list[subprocess.Popen[bytes]]) -> None:
        processes[1].kill()
        assert processes[1].wait() == -9
        codes.append(processes)

    codes = list[list[subprocess.Popen[bytes]]]()
    place = together(own_server, 3, kill_one)
    assert [process.returncode for process in codes[0]] == [0, -9, 0]
    check(place, tmp_path)


def test_the_server_is_killed_and_begun_again(own_server: S3Server, tmp_path: Path) -> None:
    def outage(processes: list[subprocess.Popen[bytes]]) -> None:
        own_server.stop()
        time.sleep(5)
        own_server.start()
        codes.append(processes)

    codes = list[list[subprocess.Popen[bytes]]]()
    place = together(own_server, 2, outage)
    assert [process.returncode for process in codes[0]] == [0, 0]
    check(place, tmp_path)
