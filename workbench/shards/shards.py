"""Writing one shard: a file per table, off the forward's thread, published whole with a receipt.

A shard is the unit of resuming: it is complete when its receipt `shards/NNNNN.json` exists, which is written after
every file of the shard was flushed, reopened and renamed. Each table is written by its own thread, since encoding
releases the interpreter lock.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from functools import partial
from heapq import merge
from threading import BoundedSemaphore, Lock
from typing import Any

import pyarrow as pa

from workbench import storage
from workbench.paths import Place
from workbench.shards.lanes import Build, Lanes, more_lanes
from workbench.shards.table_file import layer_of

BATCHES_WAITING = 2
"""Batches that may wait for the writer before the forward waits for it."""

OFTEN_EMPTY = frozenset({"nonfinite"})
"""Tables of which a shard has a file only where it has rows."""


def receipt_path(shard: int) -> str:
    """The file whose existence says that the shard is complete."""
    return f"shards/{shard:05d}.json"


def _by_layer(builds: list[Build]) -> Iterator[pa.RecordBatch]:
    """The rows of several batches, a layer of all of them after the other: row groups are full early, and lanes begin."""
    return merge(*(build() for build in builds), key=layer_of)


class ShardWriter:
    """Writes the tables of one shard on threads of its own; errors surface in the caller at the next call.

    with ShardWriter(store, 3, ["tokens", "slots"]) as shard:
        shard.put({"tokens": build_tokens, "slots": build_slots})     # callables that make Arrow batches
        shard.publish({"batches": [6, 7]})

    claim: part of the files' names, where several may write the same shard; then the first receipt says whose it is.
    lanes: how many files a table is written as, each by a thread (absent: one).
    """

    def __init__(
        self, store: Place, shard: int, tables: Iterable[str], claim: str = "", lanes: Mapping[str, int] | None = None
    ) -> None:
        self.store, self.shard, self.claim = store, shard, claim
        file = f"{shard:05d}-{claim}" if claim else f"{shard:05d}"
        self.lanes = {name: Lanes(store, name, file, (lanes or {}).get(name, 1)) for name in tables}
        self.waited, self.begun = 0.0, time.monotonic()
        self.room = BoundedSemaphore(BATCHES_WAITING)
        self.lock = Lock()
        self.futures: list[Future[None]] = []
        self.held: list[dict[str, Build]] = []

    def __enter__(self) -> "ShardWriter":
        return self

    def put(self, batch: dict[str, Build]) -> None:
        """Queues a batch's tables; waits while the writer is behind. The callables run on the writer's threads."""
        self._raise_errors(wait=False)
        started = time.monotonic()
        self.room.acquire()
        self.waited += time.monotonic() - started
        unfinished = set(batch)

        def work(name: str, build: Build) -> None:
            try:
                self.lanes[name].write(build)
            finally:
                with self.lock:
                    unfinished.remove(name)
                    if not unfinished:
                        self.room.release()

        self.futures += [self.lanes[name].builder.submit(work, name, build) for name, build in batch.items()]

    def write(self, batch: dict[str, Build], at_once: int = 1) -> None:
        """Writes the tables of `at_once` batches when so many are there: a turn of this thread's, the lanes encode meanwhile."""
        self.held.append(batch)
        if len(self.held) >= at_once:
            self._write_held()

    def _write_held(self) -> None:
        held, self.held = self.held, []
        jobs = [
            job
            for name in reversed(held[0] if held else {})
            for job in self.lanes[name].begin(partial(_by_layer, [batch[name] for batch in held]))
        ]
        for job in jobs:
            job.result()

    def publish(self, about: dict[str, Any]) -> dict[str, Any]:
        """Waits for what was put and writes what is held, publishes every file and then the receipt; returns the receipt."""
        self._raise_errors(wait=True)
        self._write_held()
        lanes = [lane for name, lane in self.lanes.items() if name not in OFTEN_EMPTY or not lane.is_empty]
        jobs = [job for lane in lanes for job in lane.publish()]
        receipt = {"shard": self.shard, **about, "files": [job.result() for job in jobs]}
        if self.claim:
            return self._first(receipt)
        # a receipt lost in a power cut costs one shard, not the store, so nobody waits for its folder
        storage.write_json(self.store, receipt_path(self.shard), receipt, flush=False)
        return receipt

    def next_lanes(self, load: float, cores: int) -> dict[str, int]:
        """How many lanes the tables of the next shard should have; see `more_lanes`."""
        lanes = {name: lane.n for name, lane in self.lanes.items()}
        busy = {name: lane.busy for name, lane in self.lanes.items()}
        return more_lanes(lanes, busy, self.waited, time.monotonic() - self.begun, load, cores)

    def _first(self, receipt: dict[str, Any]) -> dict[str, Any]:
        """The receipt that the shard has now: ours, or that of another writer who was done first, when our files go."""
        if storage.create_json(self.store, receipt_path(self.shard), receipt):
            return receipt
        for file in receipt["files"]:
            storage.disk_of(self.store).delete(file["path"])
        return storage.read_json(self.store / receipt_path(self.shard))

    def _raise_errors(self, *, wait: bool) -> None:
        for future in [f for f in self.futures if wait or f.done()]:
            future.result()
            self.futures.remove(future)

    def __exit__(self, *_: object) -> None:
        for lane in self.lanes.values():
            lane.close()
