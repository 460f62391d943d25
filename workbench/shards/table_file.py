"""One table's file of a shard: batches are gathered by layer, and lie in it as row groups of one layer."""

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from workbench import storage
from workbench.paths import Place
from workbench.shards.parquet import rows_per_group, stored_schema, writer

ROWS_GATHERED = 2**16
"""Rows of one layer that are gathered before they become a row group: soon, so that encoding runs beside the forward."""
WIDE_ROWS_GATHERED, WIDE_BYTES_GATHERED = 2**12, 2**21
"""Rows that take much room (logits, outputs) become a row group when there are this many of each."""


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

    def gather(self, batch: pa.RecordBatch) -> list[pa.RecordBatch]:
        """Takes a batch of one layer (or of a table without layers); what makes a row group by now, to be written."""
        if not batch.num_rows:
            return []
        layer = layer_of(batch)
        gathered = self.waiting.setdefault(layer, [])
        gathered.append(batch)
        rows, size = sum(b.num_rows for b in gathered), sum(b.nbytes for b in gathered)
        is_full = rows >= ROWS_GATHERED or (rows >= WIDE_ROWS_GATHERED and size >= WIDE_BYTES_GATHERED)
        return self.waiting.pop(layer) if is_full else []

    def write(self, gathered: list[pa.RecordBatch]) -> None:
        """Encodes a row group, or several where it would be too large."""
        table = pa.Table.from_batches(gathered)
        self.file.write_table(table, row_group_size=rows_per_group(table))
        self.rows += table.num_rows

    @property
    def is_empty(self) -> bool:
        """Whether no row came."""
        return not self.rows and not self.waiting

    def publish(self) -> dict[str, Any]:
        """Completes the file, reads its footer back and renames it; returns its line of the receipt."""
        for layer in sorted(self.waiting):
            self.write(self.waiting[layer])
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


def layer_of(rows: pa.RecordBatch) -> int:
    """The layer of a batch, whose rows are of one; -1 in tables without layers."""
    return rows.column("layer")[0].as_py() if "layer" in rows.schema.names and rows.num_rows else -1


def conform(name: str, columns: dict[str, Any], n_rows: int) -> pa.RecordBatch:
    """Columns (Arrow or numpy) as a batch of the table; columns that are not given become null."""
    schema = stored_schema(name)
    arrays = [
        pa.nulls(n_rows, f.type) if columns.get(f.name) is None else _as_arrow(columns[f.name], f.type) for f in schema
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _as_arrow(values: Any, kind: pa.DataType) -> pa.Array:
    return values if isinstance(values, pa.Array) else pa.array(values, kind)
