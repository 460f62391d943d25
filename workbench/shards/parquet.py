"""How a table of the store lies in Parquet: encodings, row groups, and reading one layer alone.

zstd level 1. Floats, experts and positions take BYTE_STREAM_SPLIT (exact for bf16 and fp16 models, and smaller than half floats),
words a dictionary; keys that repeat lie plainly, since zstd finds that for half of what a dictionary costs to write. A row group
never spans layers and holds at most 128 MiB before compression.
"""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from workbench.shards.schema import TABLES
from workbench.storage import Disk

ROW_GROUP_BYTES = 128 * 2**20
_SPLIT = frozenset({"position", "expert", "output_argmax", "argmax"})
_REPEATED = frozenset({"sample", "layer", "slot"})
_PRUNED = frozenset({"prompt_id", "layer"})
"""Columns with statistics: what row groups are chosen by. Of the others they would cost a seventh of the encoding."""
_AT_ONCE = 2**16
"""Values that are encoded together: of the usual 1,024 slots take a tenth more time."""
_FOOTERS_AT_ONCE = 16
"""Requests for footers that wait for object storage together."""
_NEVER_NULL = frozenset(
    {
        "prompt_id",
        "sample",
        "position",
        "layer",
        "slot",
        "expert",
        "router_logits",
        "output",
        "row",
        "router_input",
        "neurons",
    }
)


@cache
def stored_schema(name: str) -> pa.Schema:
    """The schema of a table on disk: as `TABLES`, with ids dictionary-encoded where rows are many.

    Columns that are never null are declared so: encoding slots takes a fifth less time (measured).
    """
    schema = TABLES[name]
    if name in ("prompts", "labels"):
        return schema
    never = _NEVER_NULL - {"expert"} if name == "nonfinite" else _NEVER_NULL
    return pa.schema([pa.field(f.name, _stored_type(f), nullable=f.name not in never) for f in schema])


def _stored_type(field: pa.Field) -> pa.DataType:
    if field.name in ("prompt_id", "role"):
        return pa.dictionary(pa.int32(), pa.string())
    if pa.types.is_list(field.type):
        return pa.list_(pa.field("element", field.type.value_type, nullable=False))
    return field.type


def writer(path: Path, name: str) -> pq.ParquetWriter:
    """An open Parquet file for one table of the store."""
    schema = stored_schema(name)
    split = [_leaf(f) for f in schema if _is_float(f.type) or f.name in _SPLIT]
    by_word = [f.name for f in schema if _leaf(f) not in split and f.name not in _REPEATED]
    return pq.ParquetWriter(
        path,
        schema,
        compression="zstd",
        compression_level=1,
        use_dictionary=by_word,  # pyright: ignore[reportArgumentType]
        use_byte_stream_split=split,  # pyright: ignore[reportArgumentType]
        write_statistics=[n for n in schema.names if n in _PRUNED],  # pyright: ignore[reportArgumentType]
        write_batch_size=_AT_ONCE,
    )


def rows_per_group(batch: pa.RecordBatch | pa.Table) -> int:
    """How many rows of `batch` a row group of at most 128 MiB holds; `batch` is not empty."""
    return max(1, ROW_GROUP_BYTES * batch.num_rows // max(1, batch.nbytes))


def _is_float(kind: pa.DataType) -> bool:
    return pa.types.is_floating(kind.value_type if pa.types.is_list(kind) else kind)


def _leaf(field: pa.Field) -> str:
    return f"{field.name}.list.element" if pa.types.is_list(field.type) else field.name


@dataclass(frozen=True)
class Part:
    """Row groups of one file that hold the same layer (`layer` is None for tables without layers)."""

    disk: Disk
    key: str
    size: int | None
    metadata: pq.FileMetaData
    layer: int | None
    row_groups: tuple[int, ...]

    @property
    def n_rows(self) -> int:
        """Rows in these row groups."""
        return sum(self.sizes)

    @property
    def sizes(self) -> list[int]:
        """Rows of each of these row groups."""
        return [self.metadata.row_group(i).num_rows for i in self.row_groups]

    @property
    def is_near(self) -> bool:
        """Whether its file lies on a disk of this machine, where another look at it costs nothing."""
        return isinstance(self.disk.place, Path)

    def raw(self, columns: Sequence[str]) -> list[bytes]:
        """These columns of each row group as they lie in the file, pages with their headers."""
        at = {self.metadata.schema.column(i).path: i for i in range(self.metadata.num_columns)}
        with self.disk.open(self.key, self.size) as file:
            return [
                b"".join(_chunk(file, self.metadata.row_group(group).column(at[name])) for name in columns)
                for group in self.row_groups
            ]

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """The rows, read on the calling thread."""
        # elsewhere columns that lie together are one request
        source = source_of(self.disk, self.key, self.size)
        file = pq.ParquetFile(source, metadata=self.metadata, memory_map=True, pre_buffer=not self.is_near)
        try:
            return file.read_row_groups(list(self.row_groups), columns=columns, use_threads=False)
        finally:
            file.close()


def _chunk(file: BinaryIO, column: pq.ColumnChunkMetaData) -> bytes:
    """A column of a row group, undecoded, with what decides how it is read."""
    file.seek(column.dictionary_page_offset if column.has_dictionary_page else column.data_page_offset)
    how = f"{column.physical_type} {column.compression} {column.num_values} {column.total_compressed_size} "
    return how.encode() + file.read(column.total_compressed_size)


def source_of(disk: Disk, key: str, size: int | None = None) -> Any:
    """What Arrow reads a file of the disk from; `size` where it is known."""
    return disk.place / key if isinstance(disk.place, Path) else disk.open(key, size)


def n_rows(disk: Disk, key: str, size: int | None = None) -> int:
    """How many rows the file's footer tells of."""
    return pq.read_metadata(source_of(disk, key, size)).num_rows


def parts(disk: Disk, files: Mapping[str, int | None], layers: Iterable[int] | None = None) -> list[Part]:
    """Every file of a table (keys, with sizes where they are known) as parts, one per layer, from the row groups' statistics.

    `layers` chooses.
    """
    chosen = None if layers is None else frozenset(layers)
    found: list[Part] = []
    for (key, size), metadata in zip(files.items(), _footers(disk, files), strict=True):
        groups: dict[int | None, list[int]] = {}
        for i, layer in enumerate(_layers_of(metadata)):
            if chosen is None or layer is None or layer in chosen:
                groups.setdefault(layer, []).append(i)
        found += [Part(disk, key, size, metadata, layer, tuple(ids)) for layer, ids in groups.items()]
    return found


def _footers(disk: Disk, files: Mapping[str, int | None]) -> Iterable[pq.FileMetaData]:
    def footer(file: tuple[str, int | None]) -> pq.FileMetaData:
        return pq.read_metadata(source_of(disk, *file))

    if isinstance(disk.place, Path) or len(files) < 2:
        return map(footer, files.items())
    with ThreadPoolExecutor(_FOOTERS_AT_ONCE) as pool:
        return list(pool.map(footer, files.items()))


def _layers_of(metadata: pq.FileMetaData) -> list[int | None]:
    names: list[str] = [metadata.schema.column(i).path for i in range(metadata.num_columns)]
    if "layer" not in names:
        return [None] * metadata.num_row_groups
    at = names.index("layer")
    return [_only_value(metadata.row_group(i).column(at).statistics) for i in range(metadata.num_row_groups)]


def _only_value(statistics: Any) -> int:
    assert statistics.min == statistics.max, "a row group spans layers"
    return int(statistics.min)
