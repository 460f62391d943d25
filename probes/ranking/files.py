"""A table with what was asked as one file that gives both back: Parquet, CSV and JSON."""

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from workbench.errors import WorkbenchError
from workbench.paths import given_path
from workbench.storage import replacing

_KEY = b"probe_answer"


def about_of(about: Mapping[str, Any], frame: pd.DataFrame) -> dict[str, Any]:
    """`about` with the kinds of the frame's columns, which text does not keep: a whole number, a number, yes or no, words."""
    return {**about, "types": {str(name): _kind(column) for name, column in frame.items()}}


def _kind(column: Any) -> str:
    return {"i": "int64", "u": "int64", "f": "float64", "b": "bool"}.get(column.dtype.kind, "str")


def parquet_written(path: str | Path, about: Mapping[str, Any], frame: pd.DataFrame) -> None:
    """Writes Parquet whole or not at all; `about` goes into its metadata."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pandas(frame, preserve_index=False)
    kept = {**(table.schema.metadata or {}), _KEY: json.dumps(about).encode()}
    with replacing(path) as part:
        pq.write_table(table.replace_schema_metadata(kept), part)


def text_of(ending: str, about: Mapping[str, Any], frame: pd.DataFrame) -> str:
    """CSV after one line that starts with `#`, or JSON; floats exact, null empty or null."""
    if (
        ending == "csv"
    ):  # words in quotes: a token may be a bare carriage return, which the csv of Python 3.11 does not quote
        table = frame.to_csv(index=False, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
        return f"# {json.dumps(about)}\n{table}"
    rows = [{k: _json_value(v) for k, v in row.items()} for row in frame.to_dict("records")]
    return json.dumps({**about, "rows": rows}, indent=1)


def _json_value(value: Any) -> Any:
    return None if isinstance(value, float) and np.isnan(value) else value


def opened(path: str | Path) -> tuple[dict[str, Any], pd.DataFrame]:
    """What was asked, and the frame; `WorkbenchError` where no answer of a probe lies."""
    read = {".parquet": _parquet, ".csv": _csv, ".json": _json}.get(given_path(path).suffix)
    if read is None:
        raise WorkbenchError(f"'{path}' should end in .csv, .parquet or .json, which says how to read it.")
    try:
        about, rows = read(given_path(path))
        types = about.pop("types")
        return about, pd.DataFrame(rows, columns=list(types)).astype(types)
    except FileNotFoundError as error:
        raise WorkbenchError(f"There is no answer at '{path}'; save one with its to_csv.") from error
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise WorkbenchError(f"'{path}' holds no answer of a probe ({error}); it should be what one wrote.") from error


def _parquet(path: Path) -> tuple[dict[str, Any], Any]:
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    return json.loads((table.schema.metadata or {})[_KEY]), table.to_pandas()


def _json(path: Path) -> tuple[dict[str, Any], Any]:
    about = json.loads(path.read_text(encoding="utf-8"))
    return about, about.pop("rows")


def _csv(path: Path) -> tuple[dict[str, Any], Any]:
    with path.open(encoding="utf-8", newline="") as file:  # a token may be a line's end
        about = json.loads(file.readline().removeprefix("# "))
        rows = csv.DictReader(io.StringIO(file.read(), newline=""))
        return about, [{n: _parsed(about["types"][n], text) for n, text in row.items()} for row in rows]


def _parsed(kind: str, text: str) -> Any:
    if kind == "bool":
        return text == "True"
    return text if kind == "str" else int(text) if kind == "int64" else float(text or "nan")
