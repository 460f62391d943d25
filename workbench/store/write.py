"""A store from tables you already have: for tests, golden tables, and data captured by something else."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from workbench import storage
from workbench.anatomy import Anatomy
from workbench.errors import WorkbenchError
from workbench.paths import Address, Place, given_place
from workbench.shards import (
    READ_ONCE,
    SCHEMA_VERSION,
    STREAMED,
    TABLES,
    ShardWriter,
    conform_frame,
    finish,
    write_table,
)
from workbench.store.store import Store, open_store
from workbench.version import __version__


def write_store(
    path: str | Path | Address,
    anatomy: Anatomy,
    tables: Mapping[str, pd.DataFrame],
    *,
    n_shards: int = 1,
    lacks: Sequence[str] = (),
) -> Store:
    """Writes `tables` (names and columns of the store's schema) as a complete store and opens it.

    `prompts` and `tokens` are needed; columns left out become null. With several shards the prompts are dealt out in
    turn. Positions count from 0 within each (prompt_id, sample). `lacks` names what a capture would have and this source
    does not (see `Store.untold`). Raises `WorkbenchError` when `path` holds a store.
    """
    path, prompts = given_place(path), tables["prompts"]
    for name in tables:
        _check_columns(name, tables[name])
    plan = _plan(anatomy, tables, n_shards) | ({"lacks": list(lacks)} if lacks else {})
    if not storage.create_json(path, "plan.json", plan):
        raise WorkbenchError(f"'{path}' already holds a store; choose a folder that does not exist.")
    files = [write_table(path, "prompts.parquet", "prompts", prompts)]
    if "labels" in tables:
        files.append(write_table(path, "labels/given.parquet", "labels", tables["labels"]))
    files += [write_table(path, f"{name}.parquet", name, tables[name]) for name in READ_ONCE if name in tables]
    streamed = {name: tables[name] for name in STREAMED if name in tables}
    receipts: list[dict[str, Any]] = []
    for shard in range(n_shards):
        chosen = prompts["prompt_id"].iloc[shard::n_shards].tolist()
        receipts.append(_write_shard(path, shard, chosen, streamed))
    finish(path, receipts, files)
    return open_store(path)


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


def _write_shard(store: Place, shard: int, prompts: list[str], tables: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    with ShardWriter(store, shard, tables) as out:
        for name, frame in tables.items():
            rows = frame.loc[frame["prompt_id"].isin(prompts)]
            out.put({name: partial(_by_layer, name, rows)})
        return out.publish({})


def _by_layer(name: str, frame: pd.DataFrame) -> Iterator[pa.RecordBatch]:
    if "layer" not in frame:
        yield conform_frame(name, frame)
        return
    for _, rows in frame.groupby("layer", sort=True):
        yield conform_frame(name, rows)
