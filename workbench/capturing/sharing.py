"""Several processes or ranks into one store: each takes a shard that nobody holds, and those that a killed one left."""

import time
from collections.abc import Iterator
from pathlib import Path

from workbench.shards import receipt_path
from workbench.storage import locked


def open_shards(store: Path, n_shards: int, rank: int, world: int) -> Iterator[int]:
    """Shards to write, one at a time, each held while the caller works on it; ends when every shard is complete.

    Rank r of w begins r/w of the way through. When only shards are left that others hold, waits for them, and takes
    over those whose holder died.
    """
    first = rank * n_shards // world
    order = [(first + i) % n_shards for i in range(n_shards)]
    while left := [shard for shard in order if not is_complete(store, shard)]:
        took = False
        for shard in left:
            with locked(store, f"shard-{shard:05d}") as ours:
                if ours and not is_complete(store, shard):
                    took = True
                    yield shard
        if not took:
            time.sleep(0.1)


def is_complete(store: Path, shard: int) -> bool:
    """Whether the shard's receipt exists."""
    return (store / receipt_path(shard)).is_file()
