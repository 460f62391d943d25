"""Shard files, durable writes, batches, sizes and progress: the parts of a capture, without a model."""

import errno
import hashlib
import io
import json
import os
import random
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

import workbench.shards.parquet as parquet
from tests.support.stores import anatomy
from workbench import storage
from workbench.capturing import check_disk, estimate
from workbench.capturing.sharing import open_shards
from workbench.capturing.sizes import readable
from workbench.errors import WorkbenchError
from workbench.generation import padded, prompt_seeds, schedule
from workbench.progress import Meter, Progress, ProgressLines
from workbench.shards import TABLES, ShardWriter, conform, parts, receipt_path
from workbench.storage import locked


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
    found = parts([store / "slots/00000.parquet"])
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
    for name in ("weight", "output_l2"):
        assert "BYTE_STREAM_SPLIT" in groups[0].column(columns[name]).encodings
        assert not groups[0].column(columns[name]).has_dictionary_page
    for name in ("prompt_id", "expert"):
        assert groups[0].column(columns[name]).has_dictionary_page
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


def test_a_full_disk_is_one_sentence() -> None:
    sentence = "The disk is full while writing 's'; what is complete stays: free some space"
    with pytest.raises(WorkbenchError, match=sentence), storage.disk_errors(Path("s")):
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(OSError, match="strange"), storage.disk_errors(Path("s")):
        raise OSError(errno.EIO, "strange")


def test_parquet_reports_a_full_device_as_such() -> None:
    """What the sentence above rests on: Arrow's error carries the number of the system's error."""
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with pytest.raises(OSError) as caught, parquet.writer(Path("/dev/full"), "slots") as file:  # noqa: PT011
        file.write_batch(_slots(0, 1, 100_000))
    assert caught.value.errno == errno.ENOSPC


def test_a_file_is_on_disk_before_it_has_its_name_and_its_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut finds the old file or the whole new one: the bytes are flushed, then renamed, then the name is flushed."""
    happened = list[tuple[str, int]]()
    fsync, replace = os.fsync, os.replace

    def flushed(descriptor: int) -> None:
        happened.append(("fsync", os.fstat(descriptor).st_ino))
        fsync(descriptor)

    def renamed(source: Any, target: Any) -> None:
        happened.append(("rename", os.stat(source).st_ino))
        replace(source, target)

    part = storage.temporary(tmp_path, "labels/a.json")
    part.write_bytes(b"the content")
    file, checksum = part.stat().st_ino, hashlib.sha256(b"the content").hexdigest()
    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(os, "replace", renamed)
    written = storage.publish(tmp_path, part, "labels/a.json")
    assert written == ("labels/a.json", 11, checksum)
    folder = (tmp_path / "labels").stat().st_ino
    assert happened == [("fsync", file), ("rename", file), ("fsync", folder)]
    happened.clear()
    assert storage.create_json(tmp_path, "plan.json", {"a": 1})
    assert happened[0] == ("fsync", (tmp_path / "plan.json").stat().st_ino), "linked before its bytes were flushed"


def test_create_json_happens_once(tmp_path: Path) -> None:
    assert storage.create_json(tmp_path, "plan.json", {"a": 1})
    assert not storage.create_json(tmp_path, "plan.json", {"a": 2})
    assert storage.read_json(tmp_path / "plan.json") == {"a": 1}


def test_claims_exclude_and_are_dropped(tmp_path: Path) -> None:
    with locked(tmp_path, "x") as first, locked(tmp_path, "x") as second, locked(tmp_path, "y") as other:
        assert (first, second, other) == (True, False, True)
    with locked(tmp_path, "x") as again:
        assert again


def test_ranks_begin_apart_and_finish_together(tmp_path: Path) -> None:
    shards = open_shards(tmp_path, 6, rank=1, world=3)
    order: list[int] = []
    for shard in shards:
        order.append(shard)
        storage.write_json(tmp_path, receipt_path(shard), {})
    assert order == [2, 3, 4, 5, 0, 1]
    assert list(open_shards(tmp_path, 6, rank=0, world=3)) == []


class TestSchedule:
    @given(
        st.lists(st.integers(1, 60), min_size=1, max_size=40),
        st.integers(1, 300),
        st.integers(0, 20),
        st.integers(1, 900),
    )
    @settings(max_examples=100, deadline=None)
    def test_budget_and_completeness(self, lengths: list[int], budget: int, extra: int, shard_tokens: int) -> None:
        plan = schedule(lengths, budget, extra=extra, shard_tokens=shard_tokens)
        assert sorted(i for batch in plan.batches for i in batch) == list(range(len(lengths)))
        assert [b for shard in plan.shards for b in shard] == list(range(len(plan.batches)))
        sizes = [(max(lengths[i] for i in batch) + extra) * len(batch) for batch in plan.batches]
        assert all(size <= budget or len(batch) == 1 for size, batch in zip(sizes, plan.batches, strict=True))
        assert all(sum(sizes[b] for b in shard) <= shard_tokens or len(shard) == 1 for shard in plan.shards)
        assert plan == schedule(lengths, budget, extra=extra, shard_tokens=shard_tokens)

    def test_similar_lengths_go_together(self) -> None:
        plan = schedule([1, 50, 2, 49, 3, 48], 150)
        assert plan.batches == ((1, 3, 5), (4, 2, 0))

    def test_padding(self) -> None:
        ids, mask = padded([[1, 2, 3], [4]], 0, left=True)
        assert ids.tolist() == [[1, 2, 3], [0, 0, 4]]
        assert mask.tolist() == [[1, 1, 1], [0, 0, 1]]
        assert padded([[1, 2, 3], [4]], 9, left=False)[0].tolist() == [[1, 2, 3], [4, 9, 9]]

    def test_seeds_depend_on_the_id_alone(self) -> None:
        assert prompt_seeds(["a", "b"], 0) == tuple(reversed(prompt_seeds(["b", "a"], 0)))
        assert len({*prompt_seeds(["a", "b"], 0), *prompt_seeds(["a", "b"], 1)}) == 4


class TestSizes:
    def test_a_store_too_big_is_refused(self, tmp_path: Path) -> None:
        needed = estimate(anatomy(), 10**13, {"norms"})
        with pytest.raises(
            WorkbenchError, match=r"needs about .* TB for 10,000,000,000,000 tokens .* its disk has .* free"
        ):
            check_disk(tmp_path / "not" / "yet" / "there", needed)
        check_disk(tmp_path, estimate(anatomy(), 100, {"norms"}))

    def test_what_is_kept_counts(self) -> None:
        total = {
            kept: estimate(anatomy(), 1000, set(kept)).total
            for kept in [(), ("norms",), ("residual",), ("logits",), ("outputs",)]
        }
        assert min(total.values()) == total[()]
        every, one = (estimate(anatomy(), 1000, {"outputs"}, None, e).total for e in (None, [(1, 0)]))
        assert one < every

    @pytest.mark.parametrize(("size", "text"), [(0, "0 B"), (999, "999 B"), (1234, "1.2 kB"), (5e10, "50 GB")])
    def test_readable(self, size: float, text: str) -> None:
        assert readable(size) == text


class TestProgress:
    def test_a_line(self) -> None:
        line = str(Progress(done=250, total=1000, seconds=10))
        assert line == " 25 % of 1,000 tokens, 25 tokens/s, 30 s left"
        assert str(Progress(0, 0, 0)) == "100 % of 0 tokens, 0 tokens/s"

    def test_lines_on_a_terminal_and_elsewhere(self, monkeypatch: pytest.MonkeyPatch) -> None:
        clock = [0.0]
        monkeypatch.setattr("time.monotonic", lambda: clock[0])
        plain, terminal = io.StringIO(), io.StringIO()
        terminal.isatty = lambda: True  # type: ignore[method-assign]
        for stream in (plain, terminal):
            meter = Meter(300, ProgressLines(stream))
            meter.say("Capturing")
            for _ in range(3):
                clock[0] += 6
                meter.forwarded(100)
        assert plain.getvalue().splitlines() == ["Capturing", " 67 % of 300 tokens, 17 tokens/s, 6 s left"]
        assert terminal.getvalue().count("\r") == 4
        assert terminal.getvalue().endswith("\n")


def test_random_ids_as_prompt_ids_survive(tmp_path: Path) -> None:
    """Ids with quotes, newlines, separators and other scripts come back as they are."""
    draw = random.Random(0)
    ids = [f"p{i}" + "".join(draw.choices("'\"\n/\\%,;é漢 ", k=6)) for i in range(20)]
    columns: dict[str, Any] = {
        "prompt_id": pa.DictionaryArray.from_arrays(pa.array(range(20), pa.int32()), pa.array(ids)),
        "sample": np.zeros(20, np.int32),
        "position": np.zeros(20, np.int32),
    }
    with ShardWriter(tmp_path, 0, ["tokens"]) as shard:
        shard.put({"tokens": partial(iter, [conform("tokens", columns, 20)])})
        shard.publish({})
    found = parts([tmp_path / "tokens/00000.parquet"])[0].read(["prompt_id"])
    assert found["prompt_id"].cast(pa.string()).to_pylist() == ids
