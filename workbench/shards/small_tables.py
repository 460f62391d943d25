"""One small table of a store (prompts, labels, matrices, routers), from a DataFrame to one file and its line of the manifest."""

from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from workbench import storage
from workbench.errors import WorkbenchError
from workbench.paths import Place
from workbench.prompts import label_text
from workbench.shards.parquet import n_rows, stored_schema, writer
from workbench.shards.table_file import conform


def write_table(store: Place, path: str, name: str, frame: pd.DataFrame) -> dict[str, Any]:
    """Writes one small table of the store as one file, a row group a layer; returns its line of the manifest."""
    parts = [rows for _, rows in frame.groupby("layer", sort=True)] if "layer" in frame and len(frame) else [frame]
    part = storage.temporary(store, path)
    with writer(part, name) as file:
        for rows in parts:
            file.write_batch(conform_frame(name, rows))
    found = pq.read_metadata(part).num_rows
    assert found == len(frame), f"{part}: wrote {len(frame)} rows, read {found}"
    storage.publish(store, part, path)
    return describe(store, path, name)


def describe(store: Place, path: str, name: str) -> dict[str, Any]:
    """A file's line of the manifest, from the file itself."""
    disk = storage.disk_of(store)
    size = disk.size(path)
    rows, digest = n_rows(disk, path, size), storage.sha256(store / path)
    return {"table": name, "path": path, "size_bytes": size, "sha256": digest, "rows": rows}


def conform_frame(name: str, frame: pd.DataFrame) -> pa.RecordBatch:
    """The frame as rows of the table; `WorkbenchError` for a missing value or one of another type."""
    schema = stored_schema(name)
    for field in schema:
        if not field.nullable and (field.name not in frame or frame[field.name].isna().to_numpy().any()):
            raise WorkbenchError(f"The table '{name}' needs a value of '{field.name}' in every row.")
    columns = {field.name: _column(name, field, frame[field.name]) for field in schema if field.name in frame}
    return conform(name, columns, len(frame))


def _column(table: str, field: pa.Field, values: Any) -> pa.Array:
    if (table, field.name) == ("labels", "value"):
        values = values.map(label_text, na_action="ignore")
    try:
        return pa.array(values, _value_type(field.type), from_pandas=True).cast(field.type)
    except pa.ArrowException as error:
        raise WorkbenchError(
            f"The column '{field.name}' of the table '{table}' holds what is no {_value_type(field.type)} ({error})."
        ) from error


def _value_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind
