"""What the key columns of a row group say, worked out once for all row groups whose key columns are the same bytes.

The layers of a shard name the same prompts and positions in the same order, and equal rows are encoded to equal bytes, so a
file says without being decoded that it repeats what was decoded before. Equal bytes with an equal number of rows are equal
rows, whoever wrote them: nothing is taken on trust. On object storage the bytes would be one more request for each row group,
so all is decoded.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Generic, TypeVar

import pyarrow as pa

from workbench.shards import Part
from workbench.store.tables import Tables

T = TypeVar("T")
_REMEMBERED = 128  # row groups, which hold a quarter of a mebibyte each


class SameKeys(Generic[T]):
    """`beside(part, columns)` gives what `read` makes of the key columns of its row groups."""

    def __init__(self, store: Tables, columns: Sequence[str], read: Callable[[pa.RecordBatch], T]) -> None:
        self.store, self.columns, self.read = store, list(columns), read
        self._known, self._lock = OrderedDict[tuple[int, bytes], T](), Lock()

    def beside(self, part: Part, columns: Sequence[str]) -> tuple[list[T], pa.Table]:
        """What `read` makes of each row group of the part, in order, and the part's rows of other columns."""
        if not part.is_near:  # both in one request
            rows = self.store.read(part, [*self.columns, *columns])
            return self._decoded(part, rows.select(self.columns)), rows
        rows = self.store.read(part, columns)
        return self._of_near(part), rows

    def _of_near(self, part: Part) -> list[T]:
        keys = list(zip(part.sizes, part.raw(self.columns), strict=True))
        with self._lock:
            found = [self._known.get(key) for key in keys]
        if any(one is None for one in found):
            found = self._decoded(part, self.store.read(part, self.columns))
            self._remember(dict(zip(keys, found, strict=True)))
        return [one for one in found if one is not None]

    def _decoded(self, part: Part, table: pa.Table) -> list[T]:
        at, found = 0, list[T]()
        for n in part.sizes:
            found.append(self.read(table.slice(at, n).combine_chunks().to_batches()[0]))
            at += n
        return found

    def _remember(self, found: dict[tuple[int, bytes], T]) -> None:
        with self._lock:
            self._known.update(found)
            while len(self._known) > max(_REMEMBERED, len(found)):
                self._known.popitem(last=False)
