"""Where the time of a capture goes: each of its parts by itself, over the bare forward of the same batches.

Beside the parts: the encoder of commit a01768e against today's on the same rows, and two lanes against one.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from tests.benchmarks.bench_capture import bare, encoded_again, prompts_of
from tests.benchmarks.timing import Ratio, ratio
from workbench.capturing.options import Options
from workbench.capturing.request import make_request
from workbench.capturing.rows import BatchRows
from workbench.generation import SHARD_TOKENS, schedule
from workbench.hooks import recording
from workbench.model import MoEModel
from workbench.prompts import encode
from workbench.records import ForwardRecord, Harvest, prompt_step
from workbench.shards import STREAMED, ShardWriter, conform, stored_schema
from workbench.shards.parquet import rows_per_group, writer
from workbench.storage import publish

Work = Callable[[], object]
ROWS, LAYERS, TOP_K = 2**16, 16, 8


class Parts:
    """The parts of a capture of `batches` batches, each to be done again by itself."""

    def __init__(self, model: MoEModel, sequences: int, length: int, batches: int, keep: frozenset[str]) -> None:
        self.model, self.keep, self.shape = model, keep, np.ones((sequences, length), np.int64)
        self.prompts = prompts_of(model, sequences * batches, length)
        self.bare = bare(model, self.prompts, sequences * length)
        rows = [prompt.ids for prompt in encode(model.tokenizer, self.prompts)]
        planned = schedule([len(row) for row in rows], sequences * length).batches
        self.ids = [torch.tensor([rows[i] for i in batch]) for batch in planned]
        self.records = list(self._records())

    def _records(self) -> Iterator[ForwardRecord]:
        with torch.no_grad(), recording(self.model, self.keep) as recorder:
            for batch in self.ids:
                self.model.hf(input_ids=batch, use_cache=False, logits_to_keep=1)
                yield recorder.take()

    def recording(self) -> None:
        for _ in self._records():
            pass

    def copying(self) -> list[Any]:
        chunks: list[Any] = []
        for record in self.records:
            harvest = Harvest()
            harvest.add(record, prompt_step(self.shape))
            chunks.append(harvest.finish())
        return chunks

    def building(self, chunks: list[Any]) -> None:
        names = pa.array([f"p{i}" for i in range(len(self.shape))])
        for chunk in chunks:
            batch = BatchRows(chunk, names, np.arange(len(names)), np.zeros(len(names), np.int64))
            for table in ("slots", "logits", "nonfinite"):
                list(getattr(batch, table)())

    def planning(self) -> None:
        make_request(self.model, self.prompts, Options(keep=self.keep))


def part_ratios(
    model: MoEModel, sequences: int, length: int, batches: int, keep: frozenset[str], pairs: int
) -> Iterator[Ratio]:
    """Each part over the bare forward, in the order in which a capture does them."""
    from workbench import capture

    parts = Parts(model, sequences, length, batches, keep)
    kept = " and ".join(["routing", *sorted(keep)])
    with TemporaryDirectory() as folder:
        store, again = Path(folder) / "store", Path(folder) / "again.parquet"
        capture(model, parts.prompts, store, keep=keep, batch_tokens=sequences * length, progress=False)
        work: dict[str, Work] = {
            "planning and tokenising": parts.planning,
            "recording": parts.recording,
            "copying": parts.copying,
            "building rows": partial(parts.building, parts.copying()),
            "encoding, one thread": partial(encoded_again, store, again),
            "syncing": partial(synced, store, Path(folder)),
        }
        for name, one in work.items():
            found = ratio(f"{kept}: {name}", one, "bare forward", parts.bare, pairs=pairs)
            less = 1.0 if name == "recording" else 0.0  # it is the forward, recorded
            yield found._replace(median=found.median - less, low=found.low - less, high=found.high - less)


def synced(store: Path, into: Path) -> None:
    """What a shard costs when its files are written: checksums, flushes, names."""
    for table in STREAMED:
        for file in (store / table).glob("*.parquet"):
            part = into / f"{table}-{file.name}"
            part.write_bytes(file.read_bytes())
            publish(into / "synced", part, f"{table}/{file.name}")


# ---- the encoder alone


def rows_of_slots(experts: int = 64, top_k: int = TOP_K, sized: bool = True) -> pa.RecordBatch:
    """A layer's slots with sizes: random values, which hardly compress."""
    draw, n = np.random.default_rng(0), ROWS // top_k
    prompt, position = np.divmod(np.arange(n), 64)
    chosen = (draw.gumbel(size=(n, experts)) - 0.5 * np.log(np.arange(1, experts + 1))).argpartition(-top_k, axis=1)
    names = pa.array([f"p{i:05d}" for i in range(int(prompt[-1]) + 1)])
    columns: dict[str, Any] = {
        "prompt_id": pa.DictionaryArray.from_arrays(pa.array(np.repeat(prompt, top_k).astype(np.int32)), names),
        "sample": np.zeros(ROWS, np.int32), "position": np.repeat(position, top_k).astype(np.int32),
        "layer": np.zeros(ROWS, np.int32), "slot": np.tile(np.arange(top_k, dtype=np.int32), n),
        "expert": chosen[:, -top_k:].reshape(-1).astype(np.int32), "weight": draw.random(ROWS, np.float32),
    }  # fmt: skip
    if sized:
        columns |= {name: draw.random(ROWS, np.float32) for name in ("output_l2", "output_max_abs")}
        columns["output_argmax"] = draw.integers(0, 2048, ROWS).astype(np.int32)
    return conform("slots", columns, ROWS)


def as_before(into: Path, rows: pa.RecordBatch, groups: int) -> None:
    """The encoder of commit a01768e: ids by a dictionary with statistics, 32,768 rows at a time."""
    schema = stored_schema("slots")
    floats = [field.name for field in schema if pa.types.is_floating(field.type)]
    ids: Any = [field.name for field in schema if field.name not in floats]
    split: Any = floats
    options: Any = {"compression": "zstd", "compression_level": 1, "use_dictionary": ids}
    with pq.ParquetWriter(into, schema, **options, use_byte_stream_split=split, write_statistics=ids) as file:
        for _ in range(groups):
            for start in (0, ROWS // 2):
                file.write_table(pa.Table.from_batches([rows.slice(start, ROWS // 2)]))


def as_now(into: Path, rows: pa.RecordBatch, groups: int) -> None:
    with writer(into, "slots") as file:
        for _ in range(groups):
            table = pa.Table.from_batches([rows])
            file.write_table(table, row_group_size=rows_per_group(table))


def in_lanes(folder: Path, rows: pa.RecordBatch, lanes: int) -> None:
    """A shard of 16 layers of the usual size by so many lanes, put as a capture puts it where the forward is elsewhere."""
    at, layers = rows.schema.get_field_index("layer"), [pa.array(np.full(ROWS, n, np.int32)) for n in range(LAYERS)]
    batches: Iterable[pa.RecordBatch] = [rows.set_column(at, rows.schema.field(at), layer) for layer in layers]
    with ShardWriter(folder, 0, ["slots"], lanes={"slots": lanes}) as shard:
        for _ in range(SHARD_TOKENS * TOP_K // ROWS):
            shard.put({"slots": partial(iter, batches)})
        shard.publish({})


def encoding_ratio(pairs: int) -> Ratio:
    """Time for the same rows: today's encoder over that of a01768e."""
    rows = rows_of_slots()
    with TemporaryDirectory() as folder:
        now, then = (partial(how, Path(folder) / how.__name__, rows, 16) for how in (as_now, as_before))
        return ratio("encoding slots with sizes, one lane", now, "a01768e's encoder", then, pairs=pairs, limit=1 / 1.3)


def lanes_ratio(pairs: int) -> Ratio:
    """Time for the same shard: two lanes over one."""
    rows = rows_of_slots()
    with TemporaryDirectory() as folder:
        one, two = (partial(in_lanes, Path(folder) / str(n), rows, n) for n in (1, 2))
        return ratio("a shard of slots by two lanes", two, "by one lane", one, pairs=pairs, limit=1 / 1.8)
