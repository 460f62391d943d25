"""A store from tables you already have: for tests, golden tables, and data captured by something else."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from workbench import __version__, storage
from workbench.anatomy import Anatomy
from workbench.errors import WorkbenchError
from workbench.parquet import stored_schema, writer
from workbench.paths import given_path
from workbench.prompts import label_text
from workbench.schema import SCHEMA_VERSION, STREAMED, TABLES
from workbench.seal import sealed
from workbench.shards import ShardWriter, conform
from workbench.store import Store, open_store


def write_store(
    path: str | Path,
    anatomy: Anatomy,
    tables: Mapping[str, pd.DataFrame],
    *,
    n_shards: int = 1,
    lacks: Sequence[str] = (),
) -> Store:
    """Writes `tables` (names and columns of the store's schema) as a complete store and opens it.

    `prompts` and `tokens` are needed; columns left out become null. With several shards the prompts are dealt out in
    turn. Positions count from 0 within each (prompt_id, sample). `lacks` names what a capture would have and this source
    does not (see `Store.lacks`). Raises `WorkbenchError` when `path` holds a store.
    """
    path, prompts = given_path(path), tables["prompts"]
    for name in tables:
        _check_columns(name, tables[name])
    plan = _plan(anatomy, tables, n_shards) | ({"lacks": list(lacks)} if lacks else {})
    path.mkdir(parents=True, exist_ok=True)
    if not storage.create_json(path, "plan.json", plan):
        raise WorkbenchError(f"'{path}' already holds a store; choose a folder that does not exist.")
    files = [write_table(path, "prompts.parquet", "prompts", prompts)]
    if "labels" in tables:
        files.append(write_table(path, "labels/given.parquet", "labels", tables["labels"]))
    streamed = {name: tables[name] for name in STREAMED if name in tables}
    receipts: list[dict[str, Any]] = []
    for shard in range(n_shards):
        chosen = prompts["prompt_id"].iloc[shard::n_shards].tolist()
        receipts.append(_write_shard(path, shard, chosen, streamed))
    finish(path, receipts, files)
    return open_store(path)


def write_table(store: Path, path: str, name: str, frame: pd.DataFrame) -> dict[str, Any]:
    """Writes one small table of the store as one file; returns its line of the manifest."""
    batch = _conform_frame(name, frame)
    part = storage.temporary(store, path)
    with writer(part, name) as file:
        file.write_batch(batch)
    found = pq.read_metadata(part).num_rows
    assert found == batch.num_rows, f"{part}: wrote {batch.num_rows} rows, read {found}"
    storage.publish(store, part, path)
    return describe(store, path, name)


def describe(store: Path, path: str, name: str) -> dict[str, Any]:
    """A file's line of the manifest, from the file itself."""
    file = store / path
    size, rows = file.stat().st_size, pq.read_metadata(file).num_rows
    return {"table": name, "path": path, "size_bytes": size, "sha256": storage.sha256(file), "rows": rows}


def finish(store: Path, receipts: list[dict[str, Any]], files: list[dict[str, Any]], **about: Any) -> dict[str, Any]:
    """Writes the manifest, which completes the store."""
    lines = [*files, *(file for receipt in receipts for file in receipt["files"])]
    manifest = {
        "schema_version": SCHEMA_VERSION,
        "rows": {name: sum(x["rows"] for x in lines if x["table"] == name) for name in TABLES if name != "labels"},
        **about,
        "files": files,
        "shards": sorted(receipts, key=lambda receipt: receipt["shard"]),
    }
    manifest = sealed(store, manifest)
    storage.write_json(store, "manifest.json", manifest)
    storage.tidy(store)
    return manifest


def _check_columns(name: str, frame: pd.DataFrame) -> None:
    if name not in TABLES or not set(frame.columns) <= set(TABLES[name].names):
        raise WorkbenchError(
            f"The table '{name}' with columns {', '.join(map(str, frame.columns))} is not of the store's schema; "
            f"the tables are {', '.join(TABLES)}"
            + (f" and {name} has {TABLES[name].names}." if name in TABLES else ".")
        )


def _plan(anatomy: Anatomy, tables: Mapping[str, pd.DataFrame], n_shards: int) -> dict[str, Any]:
    slots = tables.get("slots")
    layers = [] if slots is None else sorted({int(layer) for layer in slots["layer"]})
    return {
        "schema_version": SCHEMA_VERSION,
        "model": {"name": anatomy.model, "weights": anatomy.weights},
        "versions": {"workbench": __version__},
        "anatomy": anatomy.to_dict(),
        "options": {"samples": int(tables["tokens"]["sample"].to_numpy().max(initial=0)) + 1},
        "layers": layers,
        "shards": list(range(n_shards)),
        "steering": None,
    }


def _write_shard(store: Path, shard: int, prompts: list[str], tables: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    with ShardWriter(store, shard, tables) as out:
        for name, frame in tables.items():
            rows = frame.loc[frame["prompt_id"].isin(prompts)]
            out.put({name: partial(_by_layer, name, rows)})
        return out.publish({})


def _conform_frame(name: str, frame: pd.DataFrame) -> pa.RecordBatch:
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


def _by_layer(name: str, frame: pd.DataFrame) -> Iterator[pa.RecordBatch]:
    if "layer" not in frame:
        yield _conform_frame(name, frame)
        return
    for _, rows in frame.groupby("layer", sort=True):
        yield _conform_frame(name, rows)
