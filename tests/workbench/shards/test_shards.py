"""Shard files: what is put in is read, how it lies on disk, and an error in the writer publishes nothing."""

import errno
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench import storage
from workbench.shards import TABLES, ShardWriter, conform, parquet, parts, receipt_path
from workbench.storage import disk_of


def _slots(seed: int, layer: int, n: int) -> pa.RecordBatch:
    draw = np.random.default_rng([seed, layer])
    weight = draw.standard_normal(n).astype(np.float32) * np.float32(10.0) ** draw.integers(-30, 30, n)
    columns = {
        "prompt_id": pa.DictionaryArray.from_arrays(pa.array(draw.integers(0, 2, n), pa.int32()), ["a", "b"]),
        "sample": np.zeros(n, np.int32),
        "position": np.arange(n, dtype=np.int32),
        "layer": np.full(n, layer, np.int32),
        "slot": np.zeros(n, np.int32),
        "expert": draw.integers(0, 9, n).astype(np.int32),
        "weight": weight.astype(np.float32),
    }
    return conform("slots", columns, n)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 40)), max_size=8), st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_what_is_put_is_read(tmp_path_factory: Any, chunks: list[tuple[int, int]], seed: int) -> None:
    store = tmp_path_factory.mktemp("store")
    batches = [_slots(seed + i, layer, n) for i, (layer, n) in enumerate(chunks)]
    with ShardWriter(store, 0, ["slots"]) as shard:
        for batch in batches:
            shard.put({"slots": partial(iter, [batch])})
        receipt = shard.publish({"batches": [0]})
    found = parts(disk_of(store), {"slots/00000.parquet": None})
    assert [part.layer for part in found] == sorted({layer for layer, n in chunks if n})
    for part in found:
        expected = pa.Table.from_batches(
            [b for b, (layer, n) in zip(batches, chunks, strict=True) if layer == part.layer]
        )
        assert part.read().cast(TABLES["slots"]).equals(expected.cast(TABLES["slots"]))
    assert receipt["files"][0]["rows"] == sum(n for _, n in chunks)
    assert json.loads((store / receipt_path(0)).read_text()) == receipt
    assert not list((store / storage.WRITING).glob("*.part"))


def test_how_it_lies_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "ROW_GROUP_BYTES", 40_000)
    with ShardWriter(tmp_path, 0, ["slots", "logits"]) as shard:
        rows = _slots(0, 1, 5_000)
        lists = pa.ListArray.from_arrays(
            pa.array(range(0, 4 * 101, 4), pa.int32()), pa.array(np.arange(400, dtype=np.float32))
        )
        keys = {name: rows.column(name).slice(0, 100) for name in ("prompt_id", "sample", "position", "layer")}
        logits = conform("logits", {**keys, "router_logits": lists}, 100)
        shard.put({"slots": partial(iter, [rows, _slots(0, 2, 10)]), "logits": partial(iter, [logits])})
        shard.publish({})
    metadata = pq.read_metadata(tmp_path / "slots/00000.parquet")
    columns = {metadata.schema.column(i).path: i for i in range(metadata.num_columns)}
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    layers = [group.column(columns["layer"]).statistics for group in groups]
    assert all(s.min == s.max for s in layers), "a row group spans layers"
    assert sum(s.min == 1 for s in layers) > 3, "row groups are cut at the byte limit"
    for name in ("weight", "output_l2", "expert"):
        assert "BYTE_STREAM_SPLIT" in groups[0].column(columns[name]).encodings
        assert not groups[0].column(columns[name]).has_dictionary_page
    assert groups[0].column(columns["prompt_id"]).has_dictionary_page
    assert {groups[0].column(i).compression for i in columns.values()} == {"ZSTD"}
    values = pq.read_metadata(tmp_path / "logits/00000.parquet").row_group(0).column(4)
    assert "BYTE_STREAM_SPLIT" in values.encodings


def test_an_error_in_the_writer_surfaces_and_nothing_is_published(tmp_path: Path) -> None:
    def broken() -> Iterator[pa.RecordBatch]:
        yield _slots(0, 1, 3)
        raise RuntimeError("the builder broke")

    def write() -> None:
        with ShardWriter(tmp_path, 0, ["slots"]) as shard:
            shard.put({"slots": broken})
            shard.publish({})

    with pytest.raises(RuntimeError, match="the builder broke"):
        write()
    assert not (tmp_path / "slots").exists()
    assert not (tmp_path / receipt_path(0)).exists()
    assert not list((tmp_path / storage.WRITING).iterdir())


def test_parquet_reports_a_full_device_as_such() -> None:
    """What the sentence above rests on: Arrow's error carries the number of the system's error."""
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with pytest.raises(OSError) as caught, parquet.writer(Path("/dev/full"), "slots") as file:  # noqa: PT011 - the number is compared
        file.write_batch(_slots(0, 1, 100_000))
    assert caught.value.errno == errno.ENOSPC
