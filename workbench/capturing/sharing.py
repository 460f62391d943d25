"""Several processes or ranks into one store: each takes a shard that nobody holds, and those that a killed one left.

In a folder a shard is held by a lock, on object storage by a claim.
"""

import time
from collections.abc import Generator, Iterable
from contextlib import AbstractContextManager
from pathlib import Path

from workbench.capturing.claims import Claims
from workbench.paths import Place
from workbench.shards import receipt_path
from workbench.storage import Entry, disk_of, locked


def open_shards(store: Place, n_shards: int, rank: int, world: int, claims: Claims | None = None) -> Generator[int]:
    """Shards to write, one at a time, each held while the caller works on it; ends when every shard is complete.

    Rank r of w begins r/w of the way through. When only shards are left that others hold, waits for them, and takes
    over those whose holder died. `claims`: by them instead of locks.
    """
    first = rank * n_shards // world
    order = [(first + i) % n_shards for i in range(n_shards)]
    while left := _left(store, order):
        took = False
        latest = {} if claims is None else claims.latest()
        for shard in left:
            with _held(store, shard, claims, latest.get(shard)) as ours:
                if ours and not is_complete(store, shard):
                    took = True
                    yield shard
            if took and claims is not None:
                break  # meanwhile others claimed
        if not took:
            time.sleep(0.1 if claims is None else 1.0)


def _held(
    store: Place, shard: int, claims: Claims | None, last: tuple[int, Entry] | None
) -> AbstractContextManager[bool]:
    if claims is not None:
        return claims.held(shard, last)
    assert isinstance(store, Path)
    return locked(store, f"shard-{shard:05d}")


def _left(store: Place, order: Iterable[int]) -> list[int]:
    done = complete_shards(store)
    return [shard for shard in order if shard not in done]


def alone(store: Place, n_shards: int) -> Generator[int]:
    """The shards that are left, for a process that nobody writes beside."""
    yield from _left(store, range(n_shards))


def is_complete(store: Place, shard: int) -> bool:
    """Whether the shard's receipt exists."""
    return disk_of(store).size(receipt_path(shard)) is not None


def complete_shards(store: Place) -> frozenset[int]:
    """The shards whose receipts exist."""
    return frozenset(
        int(entry.key.removeprefix("shards/").removesuffix(".json")) for entry in disk_of(store).list("shards")
    )
