"""A store held in memory, for thousands of small cases: the real `Store` reading tables that never touch a disk."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from workbench.anatomy import Anatomy, LayerAnatomy
from workbench.shards import stored_schema
from workbench.store import Store, write_store

Rows = Mapping[str, list[dict[str, Any]]]
"""Every table as a list of rows: what the brute-force computations read too."""


@dataclass(frozen=True)
class MemoryPart:
    layer: int | None
    table: pa.Table

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        return self.table if columns is None else self.table.select(list(columns))

    @property
    def sizes(self) -> list[int]:
        return [len(self.table)]

    @property
    def is_near(self) -> bool:
        return False  # it lies in no file


class MemoryStore(Store):
    def parts(self, name: str, columns: Any = None, layers: Iterable[int] | None = None) -> list[Any]:
        table, wanted = self.plan_json["tables"].get(name), None if layers is None else set(layers)
        if table is None:
            return []
        if "layer" not in table.column_names:
            return [MemoryPart(None, table)]
        of_row = table["layer"].to_numpy()
        found = [layer for layer in sorted(set(of_row.tolist())) if wanted is None or layer in wanted]
        return [MemoryPart(layer, table.filter(pa.array(of_row == layer)).combine_chunks()) for layer in found]

    def files(self, name: str) -> list[str]:
        return [name] if name in self.plan_json["tables"] else []

    @cached_property
    def prompt_ids(self) -> list[str]:
        return self.plan_json["tables"]["prompts"]["prompt_id"].to_pylist()


def memory_store(anatomy: Anatomy, rows: Rows) -> Store:
    tables = {name: _table(name, found) for name, found in rows.items()}
    samples = 1 + max((row["sample"] for row in rows["tokens"]), default=0)
    layers = sorted({row["layer"] for row in rows["slots"]})
    plan = {"anatomy": anatomy.to_dict(), "options": {"samples": samples}, "layers": layers, "tables": tables}
    return MemoryStore(Path("memory"), plan, {"rows": {}, "shards": []})


def disk_store(path: Path, anatomy: Anatomy, rows: Rows, n_shards: int = 2) -> Store:
    return write_store(
        path, anatomy, {name: pd.DataFrame(found) for name, found in rows.items() if found}, n_shards=n_shards
    )


def anatomy(n_experts: Sequence[int], top_k: int, n_shared: int = 0) -> Anatomy:
    """One layer for each entry; 0 is a dense layer."""
    layers = tuple(LayerAnatomy(i, n, top_k if n else 0, n_shared if n else 0) for i, n in enumerate(n_experts))
    return Anatomy("test/moe", "test", 8, 100, "0", layers)


def _table(name: str, rows: list[dict[str, Any]]) -> pa.Table:
    schema = stored_schema(name)
    columns = [pa.array([row.get(f.name) for row in rows], _plain(f.type)).cast(f.type) for f in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind
