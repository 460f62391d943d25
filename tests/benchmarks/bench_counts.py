"""Counts for a probe over 25 million routed slots, over a bare Arrow scan of the same columns."""

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tests.benchmarks.timing import Ratio, ratio
from workbench import storage
from workbench.anatomy import Anatomy, LayerAnatomy
from workbench.capturing.rows import token_rows
from workbench.masks import token_mask
from workbench.shards import SCHEMA_VERSION, ShardWriter, conform, finish, write_table
from workbench.store import Store, open_store

LAYERS, EXPERTS, TOP_K, PROMPTS, LENGTH, SHARDS = 16, 64, 8, 1_568, 125, 4  # 25.1 million slots
LIMIT = 3.0


def ratios(pairs: int = 9) -> Iterator[Ratio]:
    """Counts per prompt, and per prompt under a mask of tokens."""
    with tempfile.TemporaryDirectory() as folder:
        store = big_store(Path(folder) / "store")
        mask = token_mask(store, "prompt", positions=range(0, LENGTH, 2))
        for what, tokens, columns in (
            ("counts per prompt over 25 million slots", None, ["prompt_id", "expert"]),
            ("counts under a token mask over 25 million slots", mask, ["prompt_id", "position", "expert"]),
        ):
            store.counts(tokens)  # the token index and the routed tokens are made once for a store
            scan = partial(bare_scan, store, columns)
            yield ratio(what, partial(store.counts, tokens), "bare Arrow scan", scan, pairs=pairs, limit=LIMIT)


def bare_scan(store: Store, columns: list[str]) -> None:
    """Every file read into Arrow, on all cores."""
    for file in store.files("slots"):
        pq.read_table(store.path / file, columns=columns, memory_map=True)


def big_store(path: Path) -> Store:
    """A store of random routing with the Zipf-like load of real models."""
    layers = tuple(LayerAnatomy(n, EXPERTS, TOP_K) for n in range(LAYERS))
    anatomy = Anatomy("random", "none", 64, 1000, "none", layers)
    ids = [f"p{i:05d}" for i in range(PROMPTS)]
    path.mkdir(parents=True)
    plan = {"schema_version": SCHEMA_VERSION, "model": {"name": "random"}, "anatomy": anatomy.to_dict(), "versions": {}}
    plan |= {"options": {"samples": 1}, "layers": list(range(LAYERS)), "shards": list(range(SHARDS)), "steering": None}
    storage.create_json(path, "plan.json", plan)
    prompts = pd.DataFrame({"prompt_id": ids, "n_tokens": LENGTH})
    files = [write_table(path, "prompts.parquet", "prompts", prompts)]
    finish(path, [_shard(path, shard, ids[shard::SHARDS]) for shard in range(SHARDS)], files)
    return open_store(path)


def _shard(path: Path, number: int, ids: list[str]) -> dict[str, Any]:
    draw, names = np.random.default_rng(number), pa.array(ids)
    prompt, position = np.repeat(np.arange(len(ids)), LENGTH), np.tile(np.arange(LENGTH), len(ids))
    n, batch = len(prompt), 16 * LENGTH
    with ShardWriter(path, number, ["tokens", "slots"]) as shard:
        shard.put({"tokens": partial(iter, [_tokens(names, prompt, position)])})
        for start in range(0, n, batch):
            rows = slice(start, start + batch)
            slots = [_slots(draw, names, prompt[rows], position[rows], layer) for layer in range(LAYERS)]
            shard.put({"slots": partial(iter, slots)})
        return shard.publish({})


def _tokens(names: pa.StringArray, prompt: np.ndarray, position: np.ndarray) -> pa.RecordBatch:
    n = len(prompt)
    ids, no, nothing = np.zeros(n, np.int32), np.zeros(n, bool), np.full(n, np.nan)
    return token_rows(names, prompt, np.zeros(n), position, ids, None, np.ones(n, np.int8), no, nothing)


def _slots(
    draw: np.random.Generator, names: pa.StringArray, prompt: np.ndarray, position: np.ndarray, layer: int
) -> pa.RecordBatch:
    n = len(prompt) * TOP_K
    scores = draw.gumbel(size=(len(prompt), EXPERTS)) - 0.5 * np.log(np.arange(1, EXPERTS + 1))
    columns = {
        "prompt_id": pa.DictionaryArray.from_arrays(pa.array(np.repeat(prompt, TOP_K).astype(np.int32)), names),
        "sample": np.zeros(n, np.int32),
        "position": np.repeat(position, TOP_K).astype(np.int32),
        "layer": np.full(n, layer, np.int32),
        "slot": np.tile(np.arange(TOP_K, dtype=np.int32), len(prompt)),
        "expert": scores.argpartition(-TOP_K, axis=1)[:, -TOP_K:].reshape(-1).astype(np.int32),
        "weight": draw.random(n, dtype=np.float32),
    }
    return conform("slots", columns, n)


if __name__ == "__main__":
    for found in ratios():
        print(f"{found.median:5.2f} ({found.low:.2f}-{found.high:.2f}, at most {found.limit}) {found.what}", flush=True)
