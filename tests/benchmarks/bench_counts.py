"""Counts for a probe over 25 million routed slots, over a bare Arrow scan of the same columns."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from probes.reading import token_mask
from tests.benchmarks.timing import Ratio, ratio, spread
from workbench import storage
from workbench.anatomy import Anatomy, LayerAnatomy
from workbench.capturing.rows import token_rows
from workbench.shards import SCHEMA_VERSION, ShardWriter, conform, finish, write_table
from workbench.store import Store, open_store

LAYERS, EXPERTS, TOP_K, PROMPTS, LENGTH = 16, 64, 8, 392, 125  # of a shard: 6.3 million slots
SHARDS = 4
LIMITS = (1.3, 1.8)


def ratios(pairs: int = 9) -> Iterator[Ratio]:
    """Counts per prompt, and per prompt under a mask of tokens."""
    with tempfile.TemporaryDirectory() as folder:
        store = big_store(Path(folder) / "store")
        mask = token_mask(store, "prompt", positions=range(0, LENGTH, 2))
        for what, tokens, columns, limit in (
            ("counts per prompt over 25 million slots", None, ["prompt_id", "expert"], LIMITS[0]),
            ("counts under a token mask over 25 million slots", mask, ["prompt_id", "position", "expert"], LIMITS[1]),
        ):
            store.counts(tokens)  # the token index and the routed tokens are made once for a store
            scan = partial(bare_scan, store, columns)
            yield ratio(what, partial(store.counts, tokens), "bare Arrow scan", scan, pairs=pairs, limit=limit)


def bare_scan(store: Store, columns: list[str]) -> None:
    """Every file read into Arrow, on all cores."""
    for file in store.files("slots"):
        pq.read_table(store.path / file, columns=columns, memory_map=True)


def big_store(
    path: Path,
    shards: int = SHARDS,
    layers: int = LAYERS,
    experts: int = EXPERTS,
    top_k: int = TOP_K,
    prompts: int = PROMPTS,
) -> Store:
    """A store of random routing with the Zipf-like load of real models; its shards repeat the first's, of other prompts."""
    anatomy = Anatomy("random", "none", 64, 1000, "none", tuple(LayerAnatomy(n, experts, top_k) for n in range(layers)))
    path.mkdir(parents=True)
    plan = {"schema_version": SCHEMA_VERSION, "model": {"name": "random"}, "anatomy": anatomy.to_dict(), "versions": {}}
    plan |= {"options": {"samples": 1}, "layers": list(range(layers)), "shards": list(range(shards)), "steering": None}
    storage.create_json(path, "plan.json", plan)
    ids = [[f"p{shard:04d}-{n:04d}" for n in range(prompts)] for shard in range(shards)]
    table = pd.DataFrame({"prompt_id": [name for some in ids for name in some], "n_tokens": LENGTH})
    files = [write_table(path, "prompts.parquet", "prompts", table)]
    drawn = list(_drawn(layers, experts, top_k, prompts))
    finish(path, [_shard(path, shard, names, drawn, top_k) for shard, names in enumerate(ids)], files)
    return open_store(path)


Drawn = tuple[int, slice, np.ndarray, np.ndarray]
"""A layer, which tokens, their experts and weights."""


def _drawn(layers: int, experts: int, top_k: int, prompts: int) -> Iterator[Drawn]:
    draw, n, batch = np.random.default_rng(0), prompts * LENGTH, 16 * LENGTH
    for start in range(0, n, batch):
        rows = slice(start, min(start + batch, n))
        for layer in range(layers):
            scores = draw.gumbel(size=(rows.stop - start, experts)) - 0.5 * np.log(np.arange(1, experts + 1))
            chosen = scores.argpartition(-top_k, axis=1)[:, -top_k:].reshape(-1).astype(np.int32)
            yield layer, rows, chosen, draw.random(len(chosen), dtype=np.float32)


def _shard(path: Path, number: int, ids: list[str], drawn: list[Drawn], top_k: int) -> dict[str, Any]:
    names, prompt, position = (
        pa.array(ids),
        np.repeat(np.arange(len(ids)), LENGTH),
        np.tile(np.arange(LENGTH), len(ids)),
    )
    with ShardWriter(path, number, ["tokens", "slots"], lanes={"slots": 2}) as shard:
        shard.put({"tokens": partial(iter, [_tokens(names, prompt, position)])})
        for one in drawn:
            shard.put({"slots": partial(iter, [_slots(names, prompt, position, one, top_k)])})
        return shard.publish({})


def _tokens(names: pa.StringArray, prompt: np.ndarray, position: np.ndarray) -> pa.RecordBatch:
    n = len(prompt)
    ids, no, nothing = position % 50, np.zeros(n, bool), np.full(n, np.nan)
    return token_rows(names, prompt, np.zeros(n), position, ids, None, np.ones(n, np.int8), no, nothing)


def _slots(names: pa.StringArray, prompt: np.ndarray, position: np.ndarray, drawn: Drawn, top_k: int) -> pa.RecordBatch:
    layer, rows, expert, weight = drawn
    n = len(expert)
    columns = {
        "prompt_id": pa.DictionaryArray.from_arrays(pa.array(np.repeat(prompt[rows], top_k).astype(np.int32)), names),
        "sample": np.zeros(n, np.int32),
        "position": np.repeat(position[rows], top_k).astype(np.int32),
        "layer": np.full(n, layer, np.int32),
        "slot": np.tile(np.arange(top_k, dtype=np.int32), n // top_k),
        "expert": expert,
        "weight": weight,
    }
    return conform("slots", columns, n)


def time_and_memory(store: Path) -> tuple[float, float]:
    """Seconds of `counts()`, once warm, and the most GB that a process of its own took for it."""
    code = (
        "import resource, sys, time; from workbench import open_store; s = open_store(sys.argv[1]); s.counts(); "
        "t = time.perf_counter(); s.counts(); "
        "print(time.perf_counter() - t, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9)"
    )
    said = subprocess.run([sys.executable, "-c", code, str(store)], check=True, capture_output=True, text=True).stdout
    seconds, memory = map(float, said.split())
    return seconds, memory


def growth_of_counts(pairs: int, shards: int = 160) -> Iterator[Ratio]:
    """Time a slot over a store of 1 G slots (160 shards, 4.3 GB on disk) over that of 25 million; and its memory in GB."""
    with tempfile.TemporaryDirectory() as folder:
        small, large = big_store(Path(folder) / "small"), big_store(Path(folder) / "large", shards)
        slots = [store.manifest["rows"]["slots"] for store in (small, large)]
        found = [(time_and_memory(large.path), time_and_memory(small.path)) for _ in range(pairs)]
    what = f"counts, time a slot over {slots[1] / 1e6:,.0f} million slots"
    yield spread(what, f"{slots[0] / 1e6:,.0f} million", [a[0] / slots[1] * slots[0] / b[0] for a, b in found], 1.3)
    yield spread("the same, memory of the process, GB", "", [large[1] for large, _ in found], 2.0)


if __name__ == "__main__":
    for found in ratios():
        print(f"{found.median:5.2f} ({found.low:.2f}-{found.high:.2f}, at most {found.limit}) {found.what}", flush=True)
