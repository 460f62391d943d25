"""Adding labels to a store after it was captured: a classifier's verdict, a hand-made grouping."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pandas as pd

from workbench.durable import disk_errors
from workbench.errors import WorkbenchError, suggestion

if TYPE_CHECKING:
    from workbench.store import Store


def add_labels(
    store: "Store",
    name: str,
    values: Mapping[str, Any] | pd.Series | pd.DataFrame,
    source: str,
    *,
    replace: bool = False,
) -> None:
    """Writes `labels/NAME.parquet`: whole or not at all.

    values: prompt_id to value (for every sample), or a DataFrame with prompt_id, sample (optional) and value. Values
        are stored as text; None leaves the prompt without the label.
    Adding the same labels again does nothing. Raises `WorkbenchError` for a prompt the store does not have, and for a
    name in use with other values unless `replace`.
    """
    from workbench.writing import write_table

    rows = _rows(name, values, source)
    _check(store, name, rows)
    path = f"labels/{quote(name, safe=' ')}.parquet"
    if (store.path / path).exists() and not replace:
        if _same(store.labels, rows, name):
            return
        raise WorkbenchError(f"'{store.path}' already has labels '{name}'; pass replace=True to exchange them.")
    with disk_errors(store.path):
        write_table(store.path, path, "labels", rows)


def _rows(name: str, values: Mapping[str, Any] | pd.Series | pd.DataFrame, source: str) -> pd.DataFrame:
    if not isinstance(values, pd.DataFrame):
        values = pd.DataFrame(
            {
                "prompt_id": list(values.keys()),
                "value": list(values.values()) if isinstance(values, Mapping) else list(values),
            }
        )
    if not {"prompt_id", "value"} <= set(values.columns):
        raise WorkbenchError(
            f"Labels '{name}' have columns {', '.join(map(str, values.columns))}; they need prompt_id and value."
        )
    kept = values[values["value"].notna()]
    sample = kept["sample"] if "sample" in kept else pd.Series([None] * len(kept), index=kept.index, dtype="Int32")
    return pd.DataFrame(
        {
            "prompt_id": kept["prompt_id"].astype(str),
            "sample": sample.astype("Int32"),
            "name": name,
            "value": kept["value"].map(str),
            "source": source,
        }
    )


def _check(store: "Store", name: str, rows: pd.DataFrame) -> None:
    if not name or name == "given" or len(quote(name)) > 200:
        raise WorkbenchError(f"Labels cannot be called '{name}'; choose another name (not 'given', not empty).")
    labels = store.labels
    if ((labels["name"] == name) & (labels["source"] == "given")).any():
        raise WorkbenchError(f"The prompts of '{store.path}' came with labels '{name}'; choose another name.")
    unknown = sorted(set(rows["prompt_id"]) - set(store.prompt_ids))
    if unknown:
        raise WorkbenchError(
            f"Labels '{name}' name the prompt '{unknown[0]}', which '{store.path}' does not have"
            f"{suggestion(unknown[0], store.prompt_ids)}."
        )
    keys = rows[["prompt_id", "sample"]]
    if keys.duplicated().any():
        twice = rows["prompt_id"][keys.duplicated()].iloc[0]
        raise WorkbenchError(f"Labels '{name}' give the prompt '{twice}' two values; give one for each sample.")
    if (rows["sample"].dropna() >= store.n_samples).any():
        raise WorkbenchError(
            f"Labels '{name}' name a sample that '{store.path}' does not have (0-{store.n_samples - 1})."
        )


def _same(labels: pd.DataFrame, rows: pd.DataFrame, name: str) -> bool:
    def plain(frame: pd.DataFrame) -> set[tuple[str, ...]]:
        return {tuple(map(str, row)) for row in frame.fillna({"sample": -1}).itertuples(index=False)}

    return plain(labels[labels["name"] == name]) == plain(rows)
