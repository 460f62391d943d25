"""Key columns that repeat are decoded once, and only those: other prompts, another order or other rows are decoded anew."""

from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tests.support.stores import random_store
from workbench.shards import ShardWriter, conform, parquet, parts
from workbench.storage import disk_of
from workbench.store import Store, write_store
from workbench.store.same_keys import SameKeys

A, B = ["a", "m", "z"], ["a", "n", "z"]  # equal in their statistics


def slots(layer: int, names: list[str], code: list[int], position: list[int]) -> pa.RecordBatch:
    n = len(code)
    columns = {
        "prompt_id": pa.DictionaryArray.from_arrays(pa.array(code, pa.int32()), names),
        "sample": np.zeros(n, np.int32),
        "position": np.array(position, np.int32),
        "layer": np.full(n, layer, np.int32),
        "slot": np.zeros(n, np.int32),
        "expert": np.arange(n, dtype=np.int32),
        "weight": np.ones(n, np.float32),
    }
    return conform("slots", columns, n)


CASES = {
    "the same": ((A, [0, 1, 2], [0, 1, 0]), 1),
    "other prompts with the same numbers": ((B, [0, 1, 2], [0, 1, 0]), 2),
    "another order of prompts": ((A, [0, 2, 1], [0, 1, 0]), 2),
    "other positions": ((A, [0, 1, 2], [0, 2, 0]), 2),
    "a row less": ((A, [0, 1], [0, 1]), 2),
}


class ByHand(Store):
    """Reads parts and nothing else."""

    def __init__(self) -> None:
        pass

    def read(self, part, columns=None):  # pyright: ignore
        return part.read(columns)


@pytest.mark.parametrize("name", CASES)
def test_what_repeats_is_decoded_once(tmp_path: Path, name: str) -> None:
    (names, code, position), decoded = CASES[name]
    with ShardWriter(tmp_path, 0, ["slots"], lanes={"slots": 2}) as shard:  # layer 2 lies in a file of its own
        for batch in (slots(1, A, [0, 1, 2], [0, 1, 0]), slots(2, names, code, position)):
            shard.put({"slots": partial(iter, [batch])})
        files = [line["path"] for line in shard.publish({})["files"]]
    seen: list[list[tuple[str, int]]] = []

    def read(batch: pa.RecordBatch) -> list[tuple[str, int]]:
        seen.append(list(zip(batch["prompt_id"].to_pylist(), batch["position"].to_pylist(), strict=True)))
        return seen[-1]

    keys = SameKeys(ByHand(), ["prompt_id", "position"], read)
    found = [keys.beside(part, ["expert"])[0] for part in parts(disk_of(tmp_path), dict.fromkeys(files))]
    expected = [("a", 0), ("m", 1), ("z", 0)], [(names[c], p) for c, p in zip(code, position, strict=True)]
    assert found == [[expected[0]], [expected[1]]]
    assert len(seen) == decoded


@pytest.mark.parametrize("tokens", [None, "every other"])
@pytest.mark.parametrize("group_bytes", [2**27, 300])
def test_layers_whose_rows_lie_in_another_order_are_counted_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group_bytes: int, tokens: str | None
) -> None:
    """Some tokens of a layer are missing, and its rows are turned round: what no capture writes, and `write_store` may."""
    monkeypatch.setattr(parquet, "ROW_GROUP_BYTES", group_bytes)
    store = random_store(tmp_path / "store", n_shards=2)
    frame = store.table("slots")
    turned = frame[(frame["layer"] != 2) | (frame["position"] > 0)].iloc[::-1]
    tables = {"prompts": store.prompts, "tokens": store.tokens, "slots": turned}
    other = write_store(tmp_path / "other", store.anatomy, tables, n_shards=2)
    mask = None if tokens is None else other.tokens["position"].to_numpy() % 2 == 0
    kept = turned[(turned["expert"] >= 0) & ((turned["position"] % 2 == 0) | (tokens is None))]
    expected = kept.groupby(["prompt_id", "layer", "expert"], observed=True).size()
    found = other.counts(mask)
    assert found.n.sum() == expected.sum() > 0
    for (prompt, layer, expert), n in expected.items():
        assert found.n[other.prompt_ids.index(prompt), found.layers.index(layer), expert] == n
