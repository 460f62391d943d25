"""Adding labels to a store after it was captured: a classifier's verdict, a hand-made grouping."""

from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

import pandas as pd

from workbench.errors import WorkbenchError, suggestion
from workbench.prompts import label_text, name_of, plain, rows_of
from workbench.shards import write_table
from workbench.storage import disk_errors
from workbench.store.tables import Tables

LabelValues = Mapping[str, Any] | pd.Series | pd.DataFrame


class Label(NamedTuple):
    """One value of one label; `sample` None holds for every sample of the prompt."""

    prompt_id: str
    sample: int | None
    value: str


def add_labels(store: Tables, name: str, values: LabelValues, source: str, *, replace: bool = False) -> None:
    """Writes `labels/NAME.parquet`: whole or not at all.

    values: prompt_id to value (for every sample), or a table (a DataFrame, Arrow's, Polars', rows, a dict of columns) with
        prompt_id, sample (optional) and value. Values are stored as text; None leaves the prompt without the label.
    Adding the same labels again does nothing. Raises `WorkbenchError` for a prompt the store does not have, and for a
    name in use with other values unless `replace`.
    """
    rows = _rows(name, values)
    _check_name(store, name)
    _check_rows(store, name, rows)
    path = f"labels/{quote(name, safe=' ')}.parquet"
    frame = _frame(name, rows, source)
    if store.disk.size(path) is not None and not replace:
        if _same(store.labels, frame, name):
            return
        raise WorkbenchError(f"'{store.path}' already has labels '{name}'; pass replace=True to exchange them.")
    with disk_errors(store.path):
        write_table(store.path, path, "labels", frame)


def _rows(name: str, values: LabelValues) -> list[Label]:
    values = _by_prompt(name, values)
    if not isinstance(values, pd.DataFrame):
        return [
            Label(str(key), None, _text(name, key, value)) for key, value in values.items() if not _is_missing(value)
        ]
    if not {"prompt_id", "value"} <= set(values.columns):
        raise WorkbenchError(
            f"Labels '{name}' have columns {', '.join(map(str, values.columns))}; they need prompt_id and value."
        )
    samples = values["sample"] if "sample" in values else [None] * len(values)
    return [
        Label(str(prompt), None if _is_missing(sample) else int(sample), _text(name, prompt, value))
        for prompt, sample, value in zip(values["prompt_id"], samples, values["value"], strict=True)
        if not _is_missing(value)
    ]


def _by_prompt(name: str, values: Any) -> LabelValues:
    """Values over prompt ids, or a table as a DataFrame: those of Arrow and Polars, a list of rows, a dict of columns."""
    if isinstance(values, pd.DataFrame | pd.Series):
        return values
    if isinstance(values, Mapping):
        is_table = {"prompt_id", "value"} <= set(values) and isinstance(plain(values["value"]), list)
        return pd.DataFrame(dict(values)) if is_table else values
    try:
        rows = [row for _, row in rows_of(values)]
    except WorkbenchError:  # which speaks of prompts
        rows = []
    if not rows or not all(isinstance(row, Mapping) for row in rows):
        raise WorkbenchError(
            f"Labels '{name}' are given as {name_of(values)}; give {{prompt id: value}}, or rows with prompt_id and value."
        )
    return pd.DataFrame(rows)


def _text(name: str, prompt: object, value: Any) -> str:
    if isinstance(plain(value), Mapping | list | tuple):
        raise WorkbenchError(f"Labels '{name}' give '{prompt}' {value!r:.40}; give one value.")
    return label_text(plain(value))


def _is_missing(value: Any) -> bool:
    return plain(value) is None


def _frame(name: str, rows: list[Label], source: str) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["prompt_id", "sample", "value"])
    return frame.assign(sample=frame["sample"].astype("Int32"), name=name, source=source)


def _check_name(store: Tables, name: str) -> None:
    if not name or name == "given" or len(quote(name)) > 200:
        raise WorkbenchError(f"Labels cannot be called '{name}'; choose another name (not 'given', not empty).")
    labels = store.labels
    if name in set(labels["name"][labels["source"] == "given"]):
        raise WorkbenchError(f"The prompts of '{store.path}' came with labels '{name}'; choose another name.")


def _check_rows(store: Tables, name: str, rows: list[Label]) -> None:
    known, seen = set(store.prompt_ids), set[tuple[str, int | None]]()
    for row in rows:
        if row.prompt_id not in known:
            raise WorkbenchError(
                f"Labels '{name}' name the prompt '{row.prompt_id}', which '{store.path}' does not have"
                f"{suggestion(row.prompt_id, store.prompt_ids) or '.'}"
            )
        if row.sample is not None and not 0 <= row.sample < store.n_samples:
            raise WorkbenchError(
                f"Labels '{name}' name sample {row.sample} of '{row.prompt_id}'; '{store.path}' has samples "
                f"0-{store.n_samples - 1}."
            )
        if (row.prompt_id, row.sample) in seen:
            raise WorkbenchError(f"Labels '{name}' give '{row.prompt_id}' two values; give one for each sample.")
        seen.add((row.prompt_id, row.sample))


def _same(labels: pd.DataFrame, new: pd.DataFrame, name: str) -> bool:
    def plain(frame: pd.DataFrame) -> set[tuple[str, ...]]:
        keys = [frame[column].map(str) for column in ("prompt_id", "sample", "value", "source")]
        return set(zip(*keys, strict=True))

    return plain(labels.loc[labels["name"] == name]) == plain(new)
