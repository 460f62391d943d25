"""A table written by several threads: the same rows, each layer in one file and in order; how many threads there are."""

from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import workbench.shards.table_file as table_file
from tests.workbench.shards.test_shards import _slots as slots
from workbench import storage
from workbench.shards import TABLES, ShardWriter, parts
from workbench.shards.lanes import more_lanes
from workbench.storage import disk_of


def written(store: Path, batches: list[list[pa.RecordBatch]], lanes: int, how: str = "put") -> list[dict[str, Any]]:
    with ShardWriter(store, 0, ["slots", "tokens"], lanes={"slots": lanes}) as shard:
        for batch in batches:
            getattr(shard, how)({"slots": partial(iter, batch), "tokens": partial(iter, [])})
        return shard.publish({})["files"]


chunks = st.lists(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 40)), max_size=4), max_size=4)


@given(chunks, st.integers(1, 4), st.sampled_from(["put", "write"]))
@settings(max_examples=30, deadline=None)
def test_whatever_the_lanes_the_rows_of_a_layer_lie_in_one_file_in_order(
    tmp_path_factory: Any, chunks: list[list[tuple[int, int]]], lanes: int, how: str
) -> None:
    store = tmp_path_factory.mktemp("store")
    batches = [[slots(i, layer, n) for layer, n in batch] for i, batch in enumerate(chunks)]
    with pytest.MonkeyPatch.context() as small:
        small.setattr(table_file, "ROWS_GATHERED", 16)
        lines = written(store, batches, lanes, how)
    files = [line["path"] for line in lines if line["table"] == "slots"]
    found = parts(disk_of(store), dict.fromkeys(files))
    layers = {layer for batch in chunks for layer, n in batch if n}
    assert sorted(part.layer for part in found) == sorted(layers), "a layer lies in one file"
    assert len(files) <= max(1, min(lanes, len({layer for batch in chunks for layer, _ in batch} | {-1})))
    for part in found:
        mine = [b for batch in batches for b in batch if b.num_rows and b.column("layer")[0].as_py() == part.layer]
        assert part.read().cast(TABLES["slots"]).equals(pa.Table.from_batches(mine).cast(TABLES["slots"]))
    assert [line["rows"] for line in lines] == [pq.read_metadata(store / line["path"]).num_rows for line in lines]


def test_layers_are_spread_over_the_lanes_and_a_table_without_layers_has_one_file(tmp_path: Path) -> None:
    batch = [slots(0, layer, 9) for layer in range(4)]
    lines = written(tmp_path, [batch, batch], 3)
    rows = {line["path"]: line["rows"] for line in lines}
    expected = {"slots/00000.parquet": 36, "slots/00000.1.parquet": 18, "slots/00000.2.parquet": 18}
    assert rows == {**expected, "tokens/00000.parquet": 0}
    assert not list((tmp_path / storage.WRITING).iterdir())


@pytest.mark.parametrize("how", ["put", "write"])
def test_an_error_in_a_lane_surfaces_and_nothing_is_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    def broken(self: Any, gathered: list[pa.RecordBatch]) -> None:
        raise RuntimeError("the lane broke")

    monkeypatch.setattr("workbench.shards.table_file.ROWS_GATHERED", 2)
    monkeypatch.setattr("workbench.shards.lanes.TableFile.write", broken)
    with pytest.raises(RuntimeError, match="the lane broke"):
        written(tmp_path, [[slots(0, 1, 3), slots(0, 2, 3)]], 2, how)
    assert not (tmp_path / "slots").exists()
    assert not list((tmp_path / storage.WRITING).iterdir())


@pytest.mark.parametrize(
    ("waited", "load", "cores", "then"),
    [
        (1.0, 0.5, 8, {"slots": 4, "tokens": 1}),  # the forward waited, cores are free: what was written for longest
        (0.4, 0.5, 8, {"slots": 2, "tokens": 1}),  # it hardly waited
        (1.0, 0.95, 8, {"slots": 2, "tokens": 1}),  # nobody is free
        (1.0, 0.5, 3, {"slots": 3, "tokens": 1}),  # never more than cores
    ],
)
def test_lanes_grow_with_load_and_cores(waited: float, load: float, cores: int, then: dict[str, int]) -> None:
    lanes, busy = {"slots": 2, "tokens": 1}, {"slots": 9.0, "tokens": 0.1}
    assert more_lanes(lanes, busy, waited, 10.0, load, cores) == then
