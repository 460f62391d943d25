"""Counts for a probe over 25 million routed slots, over a bare Arrow scan of the same columns."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from probes.catalogue import ASKED
from probes.reading import token_mask
from tests.benchmarks.timing import Ratio, ratio, spread
from workbench import storage
from workbench.anatomy import Anatomy, LayerAnatomy
from workbench.capturing.rows import token_rows
from workbench.shards import SCHEMA_VERSION, ShardWriter, conform, finish, stored_schema, write_table
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
    sized: bool = False,
) -> Store:
    """A store of random routing with the Zipf-like load of real models; its shards repeat the first's, of other prompts.

    sized  with sizes, residual stream, router logits, router rows and a label as well
    """
    anatomy = Anatomy("random", "none", 64, 1000, "none", tuple(LayerAnatomy(n, experts, top_k) for n in range(layers)))
    path.mkdir(parents=True)
    plan = {"schema_version": SCHEMA_VERSION, "model": {"name": "random"}, "anatomy": anatomy.to_dict(), "versions": {}}
    plan |= {"options": {"samples": 1}, "layers": list(range(layers)), "shards": list(range(shards)), "steering": None}
    storage.create_json(path, "plan.json", plan)
    ids = [[f"p{shard:04d}-{n:04d}" for n in range(prompts)] for shard in range(shards)]
    names = [name for some in ids for name in some]
    files = [write_table(path, "prompts.parquet", "prompts", pd.DataFrame({"prompt_id": names, "n_tokens": LENGTH}))]
    if sized:
        asked = {
            "prompt_id": names,
            "name": "asked",
            "value": (["yes", "no"] * len(names))[: len(names)],
            "source": "given",
        }
        row = {"layer": np.repeat(range(layers), experts), "expert": np.tile(range(experts), layers)}
        row["row"] = list(np.random.default_rng(1).normal(size=(layers * experts, HIDDEN)).astype(np.float32))
        files.append(write_table(path, "labels/given.parquet", "labels", pd.DataFrame(asked)))
        files.append(write_table(path, "routers.parquet", "routers", pd.DataFrame(row)))
        sums = {"n_values": HIDDEN, "sum_abs": 50.0, "sum_squares": 64.0 + row["expert"]}
        matrices = [
            pd.DataFrame({**row, "matrix": name, **sums}).drop(columns="row") for name in ("gate", "up", "down")
        ]
        files.append(write_table(path, "matrices.parquet", "matrices", pd.concat(matrices)))
    drawn = list(_drawn(layers, experts, top_k, prompts))
    finish(path, [_shard(path, shard, some, drawn, top_k, experts * sized) for shard, some in enumerate(ids)], files)
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


def _shard(path: Path, number: int, ids: list[str], drawn: list[Drawn], top_k: int, logits: int) -> dict[str, Any]:
    names, prompt, position = (
        pa.array(ids),
        np.repeat(np.arange(len(ids)), LENGTH),
        np.tile(np.arange(LENGTH), len(ids)),
    )
    more = ["residual", "logits"] if logits else []
    with ShardWriter(path, number, ["tokens", "slots", *more], lanes={"slots": 2}) as shard:
        shard.put({"tokens": partial(iter, [_tokens(names, prompt, position)])})
        for one in drawn:
            made = {"slots": [_slots(names, prompt, position, one, top_k, bool(logits))]}
            if logits:
                made |= _of_tokens(names, prompt, position, one, logits)
            shard.put({table: partial(iter, rows) for table, rows in made.items()})
        return shard.publish({})


def _of_tokens(
    names: pa.StringArray, prompt: np.ndarray, position: np.ndarray, drawn: Drawn, experts: int
) -> dict[str, list[pa.RecordBatch]]:
    """Residual stream and router logits of the tokens of `drawn`: random."""
    layer, rows, _, _ = drawn
    n, draw = rows.stop - rows.start, np.random.default_rng([layer, rows.start])
    keys = {
        "prompt_id": pa.DictionaryArray.from_arrays(pa.array(prompt[rows].astype(np.int32)), names),
        "sample": np.zeros(n, np.int32),
        "position": position[rows].astype(np.int32),
        "layer": np.full(n, layer, np.int32),
    }
    sizes = {name: draw.random(n, np.float32) for name in ("l2", "max_abs", "median_abs", "routed_change")}
    sizes["argmax"] = draw.integers(0, HIDDEN, n).astype(np.int32)
    values = pa.array(draw.normal(size=n * experts).astype(np.float32))
    offsets = pa.array(np.arange(0, (n + 1) * experts, experts, dtype=np.int32))
    kind = stored_schema("logits").field("router_logits").type
    logits = {"router_logits": pa.ListArray.from_arrays(offsets, values, type=kind)}
    below = [conform("residual", {**keys, "layer": np.full(n, -1, np.int32), **sizes}, n)] if layer == 0 else []
    return {
        "residual": [*below, conform("residual", {**keys, **sizes}, n)],
        "logits": [conform("logits", {**keys, **logits}, n)],
    }


def _tokens(names: pa.StringArray, prompt: np.ndarray, position: np.ndarray) -> pa.RecordBatch:
    n = len(prompt)
    ids, no, nothing = (7 * prompt + position) % 500, np.zeros(n, bool), np.full(n, np.nan)
    words = pa.array([f"w{number}" for number in ids])
    return token_rows(names, prompt, np.zeros(n), position, ids, words, np.ones(n, np.int8), no, nothing)


def _slots(
    names: pa.StringArray, prompt: np.ndarray, position: np.ndarray, drawn: Drawn, top_k: int, sized: bool
) -> pa.RecordBatch:
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
    if sized:
        columns |= {"output_l2": weight + 1, "output_max_abs": weight, "output_argmax": expert % HIDDEN}
    return conform("slots", columns, n)


def time_and_memory(store: Path) -> tuple[float, float]:
    """Seconds of `counts()`, once warm, and the most GB that a process of its own took for it."""
    code = (
        "import sys, time; from workbench import open_store; s = open_store(sys.argv[1]); s.counts(); "
        "t = time.perf_counter(); s.counts(); t = time.perf_counter() - t; "
        "print(t, next(int(x.split()[1]) * 1024 / 1e9 for x in open('/proc/self/status') if x.startswith('VmHWM')))"
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


# ---- every probe over ten million slots

TEN_MILLION = {"shards": 1, "layers": 48, "experts": 128, "top_k": 8, "prompts": 209}
HIDDEN = 64
CALLS = {"npmi": ("--target", "asked=yes"), "similarity": ("--set", "by=router")}
_MEASURED = """
import runpy, sys
try: runpy.run_module("workbench_app", run_name="__main__", alter_sys=True)
finally: print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def probe_times(folder: Path) -> Iterator[tuple[str, float, float, str]]:
    """Name, seconds, the most GB of its process and the last line said, for every probe of the command line, with defaults."""
    store = big_store(folder / "ten-million", **TEN_MILLION, sized=True)
    for name, method in ASKED.items():
        words = [*CALLS.get(name, ()), *(("--target", "yes", "--baseline", "no") if method.classes else ())]
        words += ["--set", f"{method.beside}={store.path}"] if method.beside else []
        yield name, *_ran([sys.executable, "-c", _MEASURED, "rank", name, str(store.path), *words])


def _ran(command: list[str]) -> tuple[float, float, str]:
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    *_, memory = done.stdout.strip().splitlines()
    return (
        time.perf_counter() - started,
        int(memory) * 1024 / 1e9,
        done.stderr.strip().rpartition("\n")[2] if done.returncode else "",
    )


if __name__ == "__main__":
    for found in ratios():
        print(f"{found.median:5.2f} ({found.low:.2f}-{found.high:.2f}, at most {found.limit}) {found.what}", flush=True)
