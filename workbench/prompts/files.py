"""Prompt files on disk: finding them (bundled ones by name) and reading their rows, each with its place for errors."""

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from workbench.bundled import bundled_path
from workbench.errors import WorkbenchError, suggestion
from workbench.paths import given_path

Row = tuple[str, Any]


def find_prompts(source: str | Path) -> Path:
    """The file: as given, or bundled (`refusal`, `refusal.jsonl`, `data/prompts/refusal.jsonl` of an installed wheel)."""
    path = given_path(source)
    if path.is_file():
        return path
    if path.is_dir():
        raise WorkbenchError(f"'{source}' is a folder; name a prompt file in it.")
    if path.parent in (Path(), Path("data/prompts")):
        name = path.name if path.suffix else f"{path.name}.jsonl"
        known = [file.stem for file in sorted(bundled_path("prompts").glob("*.jsonl"))]
        if Path(name).stem in known and name.endswith(".jsonl"):
            return bundled_path(f"prompts/{name}")
        raise WorkbenchError(
            f"There is no prompt file '{source}'; give a path to a JSONL, CSV or Parquet file, or a "
            f"bundled name: {', '.join(known)}{suggestion(path.stem, known) or '.'}"
        )
    raise WorkbenchError(f"There is no prompt file '{source}'; give a path to a JSONL, CSV or Parquet file.")


def read_rows(path: Path) -> Iterator[Row]:
    """Each row of the file as (place, row)."""
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise WorkbenchError(
            f"'{path}' ends in '{path.suffix}'; prompts are read from {', '.join(_READERS)} files, so rename or convert it."
        )
    return reader(path)


def _read_jsonl(path: Path) -> Iterator[Row]:
    for number, line in enumerate(_text(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            yield f"line {number}", json.loads(line)
        except json.JSONDecodeError as error:
            raise WorkbenchError(
                f"Line {number} of '{path}' is not JSON ({error.msg} at column {error.colno}); each line holds one "
                f'object, like {{"text": "..."}}.'
            ) from error
        except (ValueError, RecursionError) as error:  # a number of thousands of digits, or nested thousands deep
            raise WorkbenchError(
                f"Line {number} of '{path}' is nested too deep or holds too long a number; each line holds one object, "
                f'like {{"text": "..."}}.'
            ) from error


def _read_csv(path: Path) -> Iterator[Row]:
    reader = csv.DictReader(io.StringIO(_text(path), newline=""), strict=True)
    try:
        _check_header(path, reader.fieldnames or ())
        for row in reader:
            place = f"line {reader.line_num}"
            if None in row:
                raise WorkbenchError(f"Line {reader.line_num} of '{path}' has more cells than the header has columns.")
            yield place, {key: value for key, value in row.items() if value}
    except csv.Error as error:
        raise WorkbenchError(f"Line {reader.line_num} of '{path}' is not CSV ({error}).") from error


def _read_parquet(path: Path) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
        _check_header(path, table.column_names)
        rows: list[dict[str, Any]] = table.to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise WorkbenchError(f"'{path}' is not a Parquet file ({str(error).splitlines()[0]}).") from error
    for number, row in enumerate(rows):
        yield f"row {number}", row


def _check_header(path: Path, columns: Sequence[str]) -> None:
    for column in columns:
        if columns.count(column) > 1:
            raise WorkbenchError(f"'{path}' has two columns '{column}'; name each column once.")


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise WorkbenchError(f"'{path}' is not UTF-8 text (byte {error.start}); save it as UTF-8.") from error


_READERS: dict[str, Callable[[Path], Iterator[Row]]] = {
    ".jsonl": _read_jsonl,
    ".csv": _read_csv,
    ".parquet": _read_parquet,
}
