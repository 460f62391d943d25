"""Who of several processes is at work on a part of a folder: a lock on a file of its hidden folder.

The system drops a lock when its process ends, however it ends, so others take over what a killed one held. Needs a
filesystem with working `flock` (local disks; NFS 4).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from workbench.storage.files import WRITING


@contextmanager
def locked(store: Path, what: str) -> Iterator[bool]:
    """Holds `what` during the block if nobody else does; yields whether we hold it."""
    with _held(store, what, wait=False) as ours:
        yield ours


@contextmanager
def held(folder: Path, what: str) -> Iterator[None]:
    """Holds `what` during the block, which begins as soon as nobody else does."""
    with _held(folder, what, wait=True):
        yield


@contextmanager
def _held(folder: Path, what: str, *, wait: bool) -> Iterator[bool]:
    from filelock import (  # only here: `workbench --help` imports this folder, and waits for no library
        FileLock,
        Timeout,
    )

    (folder / WRITING).mkdir(parents=True, exist_ok=True)
    # a lock that is a mere file, for disks without flock, would outlive its process: there it is refused
    lock = FileLock(folder / WRITING / f"{what}.lock", fallback_to_soft=False)
    try:
        lock.acquire(blocking=wait)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()
