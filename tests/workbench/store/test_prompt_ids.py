"""Random ids as ids of prompts survive a store."""

import random
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from workbench.shards import ShardWriter, conform, parts
from workbench.storage import disk_of


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
    found = parts(disk_of(tmp_path), {"tokens/00000.parquet": None})[0].read(["prompt_id"])
    assert found["prompt_id"].cast(pa.string()).to_pylist() == ids
