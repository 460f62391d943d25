"""Several processes or ranks into one store: each takes a shard that nobody holds.

A claim is a lock on a file of the store's hidden folder. The system drops it when its process ends, however it ends, so
a killed rank's shard is taken over by the others. Needs a filesystem with working `flock` (local disks; NFS 4).
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from workbench.durable import WRITING
from workbench.shards import receipt_path

try:
    import fcntl
except ImportError:  # Windows: one process at a time
    fcntl = None


@contextmanager
def claim(store: Path, what: str) -> Iterator[bool]:
    """Holds `what` during the block if nobody else does; yields whether we hold it."""
    folder = store / WRITING
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder / f"{what}.lock", os.O_RDWR | os.O_CREAT)
    try:
        yield _lock(handle)
    finally:
        os.close(handle)  # which releases the lock


def _lock(handle: int) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


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
            with claim(store, f"shard-{shard:05d}") as ours:
                if ours and not is_complete(store, shard):
                    took = True
                    yield shard
        if not took:
            time.sleep(0.1)


def is_complete(store: Path, shard: int) -> bool:
    """Whether the shard's receipt exists."""
    return (store / receipt_path(shard)).is_file()
