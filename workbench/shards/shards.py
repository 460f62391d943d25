"""Writing one shard: a file per table, off the forward's thread, published whole with a receipt.

A shard is the unit of resuming: it is complete when its receipt `shards/NNNNN.json` exists, which is written after
every file of the shard was flushed, reopened and renamed. Each table is written by its own thread, since encoding
releases the interpreter lock.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from threading import BoundedSemaphore, Lock
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from workbench import storage
from workbench.paths import Place
from workbench.shards.parquet import rows_per_group, stored_schema, writer

ROWS_GATHERED = 2**15
"""Rows of one layer that are gathered before they become a row group: soon, so that encoding runs beside the forward."""
WIDE_ROWS_GATHERED, WIDE_BYTES_GATHERED = 2**11, 2**20
"""Rows that take much room (logits, outputs) become a row group when there are this many of each."""
BATCHES_WAITING = 2
"""Batches that may wait for the writer before the forward waits for it."""

OFTEN_EMPTY = frozenset({"nonfinite"})
"""Tables of which a shard has a file only where it has rows."""

Build = Callable[[], Iterable[pa.RecordBatch]]


def receipt_path(shard: int) -> str:
    """The file whose existence says that the shard is complete."""
    return f"shards/{shard:05d}.json"


@dataclass
class TableFile:
    """One table's file of a shard: gathers batches per layer and writes them as row groups of one layer."""

    store: Place
    name: str
    path: str
    waiting: dict[int, list[pa.RecordBatch]] = field(default_factory=dict[int, list[pa.RecordBatch]])
    rows: int = 0

    def __post_init__(self) -> None:
        self.part = storage.temporary(self.store, self.path)
        self.file: pq.ParquetWriter = writer(self.part, self.name)

    def add(self, batch: pa.RecordBatch) -> None:
        """Takes a batch of one layer (or of a table without layers)."""
        if not batch.num_rows:
            return
        layer = batch.column("layer")[0].as_py() if "layer" in batch.schema.names else -1
        gathered = self.waiting.setdefault(layer, [])
        gathered.append(batch)
        rows, size = sum(b.num_rows for b in gathered), sum(b.nbytes for b in gathered)
        if rows >= ROWS_GATHERED or (rows >= WIDE_ROWS_GATHERED and size >= WIDE_BYTES_GATHERED):
            self._write(layer)

    def _write(self, layer: int) -> None:
        table = pa.Table.from_batches(self.waiting.pop(layer))
        self.file.write_table(table, row_group_size=rows_per_group(table))
        self.rows += table.num_rows

    @property
    def is_empty(self) -> bool:
        """Whether no row came."""
        return not self.rows and not self.waiting

    def publish(self) -> dict[str, Any]:
        """Completes the file, reads its footer back and renames it; returns its line of the receipt."""
        for layer in sorted(self.waiting):
            self._write(layer)
        self.file.close()
        found = pq.read_metadata(self.part).num_rows
        assert found == self.rows, f"{self.part}: wrote {self.rows} rows, read {found}"
        written = storage.publish(self.store, self.part, self.path)
        return {"table": self.name, **written._asdict(), "rows": self.rows}

    def discard(self) -> None:
        """Gives the file up, or does nothing when it was published."""
        with suppress(OSError):  # a full disk was already reported by the write that met it
            self.file.close()
        self.part.unlink(missing_ok=True)


class ShardWriter:
    """Writes the tables of one shard on threads of its own; errors surface in the caller at the next call.

    with ShardWriter(store, 3, ["tokens", "slots"]) as shard:
        shard.put({"tokens": build_tokens, "slots": build_slots})     # callables that make Arrow batches
        shard.publish({"batches": [6, 7]})

    claim: part of the files' names, where several may write the same shard; then the first receipt says whose it is.
    """

    def __init__(self, store: Place, shard: int, tables: Iterable[str], claim: str = "") -> None:
        self.store, self.shard, self.claim = store, shard, claim
        file = f"{shard:05d}-{claim}" if claim else f"{shard:05d}"
        self.files = {name: TableFile(store, name, f"{name}/{file}.parquet") for name in tables}
        self.lanes = {name: ThreadPoolExecutor(1, thread_name_prefix=f"write-{name}") for name in self.files}
        self.room = BoundedSemaphore(BATCHES_WAITING)
        self.lock = Lock()
        self.futures: list[Future[None]] = []

    def __enter__(self) -> "ShardWriter":
        return self

    def put(self, batch: dict[str, Build]) -> None:
        """Queues a batch's tables; waits while the writer is behind. The callables run on the writer's threads."""
        self._raise_errors(wait=False)
        self.room.acquire()
        unfinished = set(batch)

        def work(name: str, build: Build) -> None:
            try:
                for rows in build():
                    self.files[name].add(rows)
            finally:
                with self.lock:
                    unfinished.remove(name)
                    if not unfinished:
                        self.room.release()

        self.futures += [self.lanes[name].submit(work, name, build) for name, build in batch.items()]

    def publish(self, about: dict[str, Any]) -> dict[str, Any]:
        """Waits for what was put, publishes every file and then the receipt; returns the receipt."""
        self._raise_errors(wait=True)
        written = {name: file for name, file in self.files.items() if name not in OFTEN_EMPTY or not file.is_empty}
        jobs = {name: self.lanes[name].submit(file.publish) for name, file in written.items()}
        receipt = {"shard": self.shard, **about, "files": [job.result() for job in jobs.values()]}
        if self.claim:
            return self._first(receipt)
        # a receipt lost in a power cut costs one shard, not the store, so nobody waits for its folder
        storage.write_json(self.store, receipt_path(self.shard), receipt, flush=False)
        return receipt

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
            lane.shutdown(wait=True, cancel_futures=True)
        for file in self.files.values():
            file.discard()


def conform(name: str, columns: dict[str, Any], n_rows: int) -> pa.RecordBatch:
    """Columns (Arrow or numpy) as a batch of the table; columns that are not given become null."""
    schema = stored_schema(name)
    arrays = [
        pa.nulls(n_rows, f.type) if columns.get(f.name) is None else _as_arrow(columns[f.name], f.type) for f in schema
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _as_arrow(values: Any, kind: pa.DataType) -> pa.Array:
    return values if isinstance(values, pa.Array) else pa.array(values, kind)
