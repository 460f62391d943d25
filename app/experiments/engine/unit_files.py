"""The files of a run's units: one Parquet file each, whole or not at all, with what is said about it in the metadata."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from workbench import WorkbenchError
from workbench.storage import publish, temporary


def write_unit(run: Path, path: str, frame: pd.DataFrame, about: Mapping[str, Any] | None = None) -> None:
    """A unit's file, whole or not at all; `about` (JSON-able) travels in its metadata."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    kept = {**(table.schema.metadata or {}), b"unit": json.dumps(dict(about or {})).encode()}
    part = temporary(run, path)
    pq.write_table(table.replace_schema_metadata(kept), part, compression="zstd")
    publish(run, part, path)


def read_unit(path: Path) -> pa.Table:
    """A unit's file. Raises `WorkbenchError` when it is missing or damaged."""
    try:
        return pq.ParquetFile(path).read()  # read_table looks for a dataset first, which takes three times as long
    except (pa.ArrowException, OSError) as error:
        raise WorkbenchError(
            f"'{path}' cannot be read ({str(error).splitlines()[0]}); remove it and run the recipe again, which makes it anew."
        ) from error


def about_unit(table: pa.Table) -> dict[str, Any]:
    """What travels in the metadata of a unit's file."""
    return json.loads((table.schema.metadata or {}).get(b"unit", b"{}"))
