"""Run as a program: a server's memory after many requests with many plans, or as many hostile ones as one likes.

python -m tests.serving.support.endurance                  # 2,000 requests under 200 plans; memory after 500 and at the end
python -m tests.serving.support.endurance --hostile 1000   # and so many hostile ones afterwards
"""

import argparse
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

import psutil

os.environ |= {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "VLLM_NO_USAGE_STATS": "1"}

from tests.serving.support.http import Server, request, serving, soon, streamed, whole
from tests.serving.support.judging import random_plans
from tests.serving.support.models import native
from workbench import Plan

FIRST, PLANS, TOKENS, CLIENTS = 500, 200, 6, 8


def plans() -> Iterator[str]:
    """200 of them, again and again."""
    from tests.serving.test_server import joins

    found = [plan for plan in random_plans(native("demo").anatomy, 2 * PLANS, seed=11) if joins(plan)]
    made = [str(plan) for plan in found[:PLANS]]
    while True:
        yield from made


def resident(server: Server) -> int:
    """Bytes of all its processes."""
    first = psutil.Process(server.process.pid)
    return sum(process.memory_info().rss for process in [first, *first.children(recursive=True)])


def rows(server: Server) -> tuple[int, int]:
    with server.client() as client:
        told = client.get("/v1/models").json()["data"][0]["expert_plan"]
    return told["rows_reserved"], told["rows_in_use"]


def send(server: Server, under: list[str], start: int) -> None:
    with server.client() as client, ThreadPoolExecutor(CLIENTS) as clients:
        asked = [request([20 + (n + start) % 300, 33, 47, 90], plan, tokens=TOKENS) for n, plan in enumerate(under)]
        list(clients.map(lambda pair: (streamed if pair[0] % 2 else whole)(client, pair[1]), enumerate(asked)))


def memory(server: Server, n: int) -> bool:
    """Whether it is at most 1 % and 20 MB more after n requests than after 500, and no row is in use."""
    under, began = plans(), monotonic()
    send(server, list(islice(under, FIRST)), 0)
    before = resident(server)
    send(server, list(islice(under, n - FIRST)), FIRST)
    after, free = resident(server), soon(lambda: rows(server) == (0, 0))
    print(f"after {FIRST} requests {before / 1e6:.1f} MB, after {n} {after / 1e6:.1f} MB, {monotonic() - began:.0f} s")
    print(f"rows in use: {rows(server)}")
    return free and after <= 1.01 * before + 20e6


def hostile(server: Server, folder: Path, n: int) -> bool:
    """Whether each was refused as it should be."""
    from tests.serving.test_server import check_hostile

    began, traps = monotonic(), folder / "traps"  # the server opens files of its own in the folder above
    traps.mkdir()
    slowest = check_hostile(server, traps, n, seed=5)
    print(
        f"{n} hostile plans refused in {monotonic() - began:.0f} s, the slowest in {slowest:.2f} s of the server's processor"
    )
    return True


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--hostile", type=int, default=0)
    asked = parser.parse_args()
    with TemporaryDirectory() as name:
        folder = Path(name)
        Plan.parse("scale L3E5=1.5; off L0E30").to_json(folder / "everywhere.json")
        with serving(folder, "--plan", str(folder / "everywhere.json")) as server:
            done = memory(server, asked.requests)
            done = (not asked.hostile or hostile(server, folder, asked.hostile)) and done
    return 0 if done else 1


if __name__ == "__main__":
    sys.exit(main())
