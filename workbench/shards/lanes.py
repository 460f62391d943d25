"""One table of a shard on its way to disk, by as many threads as it needs: rows are built on one, encoded on one or several.

Encoding releases the interpreter lock. With several lanes each writes a file of its own, and a layer's rows stay in one file, in
the order in which they come, so what is added up over a layer does not depend on the lanes.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pyarrow as pa

from workbench.paths import Place
from workbench.shards.table_file import TableFile, layer_of

Build = Callable[[], Iterable[pa.RecordBatch]]

_WAITING, _BUSY, _LOADED = 0.05, 0.5, 0.9


class Lanes:
    """A table of a shard: `write` what a batch gives, on `builder`'s thread; `publish` its files."""

    def __init__(self, store: Place, name: str, file: str, n: int = 1) -> None:
        self.builder = ThreadPoolExecutor(1, thread_name_prefix=f"write-{name}")
        self.n, self.busy = n, 0.0
        """Seconds for which something was written."""
        self._new: Callable[[int], TableFile] = lambda lane: TableFile(
            store, name, f"{name}/{file}{f'.{lane}' if lane else ''}.parquet"
        )
        self._files = [self._new(0)]
        self._encoders = [ThreadPoolExecutor(1, thread_name_prefix=f"encode-{name}") for _ in range(n)] if n > 1 else []
        self._lane_of: dict[int, int] = {}

    def write(self, build: Build) -> None:
        """Encodes the rows as they are built; returns when all are."""
        started = time.monotonic()
        for job in self.begin(build):
            job.result()
        self.busy += time.monotonic() - started

    def begin(self, build: Build) -> list[Future[None]]:
        """Builds the rows on this thread; the row groups that are still encoded by others when it returns."""
        jobs: list[Future[None]] = []
        for rows in build():
            lane = self._lane_of.setdefault(layer_of(rows), len(self._lane_of) % self.n)
            while lane >= len(self._files):
                self._files.append(self._new(len(self._files)))
            file = self._files[lane]
            if gathered := file.gather(rows):
                if self._encoders:
                    jobs.append(self._encoders[lane].submit(file.write, gathered))
                else:
                    file.write(gathered)
        return jobs

    @property
    def is_empty(self) -> bool:
        """Whether no row came."""
        return all(file.is_empty for file in self._files)

    def publish(self) -> list[Future[dict[str, Any]]]:
        """Each file's line of the receipt."""
        threads = self._encoders or [self.builder]
        return [threads[lane].submit(file.publish) for lane, file in enumerate(self._files)]

    def close(self) -> None:
        """Ends the threads, and gives up what was not published."""
        for thread in (self.builder, *self._encoders):
            thread.shutdown(wait=True, cancel_futures=True)
        for file in self._files:
            file.discard()


def more_lanes(
    lanes: Mapping[str, int], busy: Mapping[str, float], waited: float, seconds: float, load: float, cores: int
) -> dict[str, int]:
    """How many lanes each table has in the next shard: twice as many where the forward waited for it and cores are free.

    busy, waited, seconds  for how long each table was written, the forward waited, the shard took
    load                   the share of all cores that this process kept busy
    """
    is_behind = waited > _WAITING * seconds and load < _LOADED
    return {name: min(2 * n, cores) if is_behind and busy[name] > _BUSY * seconds else n for name, n in lanes.items()}
