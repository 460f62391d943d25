"""A store from one place to another, in either direction: every file against its checksum, the manifest last."""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from workbench import storage
from workbench.errors import WorkbenchError
from workbench.paths import Address, given_place
from workbench.storage import Disk, disk_of
from workbench.store.store import Store, open_store

_AT_ONCE = 4
"""Files under way together."""
_CHUNK = 2**23
_FIRST, _LAST = "plan.json", "manifest.json"


class Copied(NamedTuple):
    """The store at its new place, how many files were written there, and how many were there already."""

    store: Store
    written: int
    found: int


class _File(NamedTuple):
    key: str
    sha256: str


def copy_store(source: str | Path | Address, target: str | Path | Address) -> Copied:
    """Copies a complete store. Begun again after it was stopped, it writes what is not there yet, or not as it should be.

    What was read is compared with the manifest's checksums before it gets its name; what is there already is read and compared
    too. Raises `WorkbenchError` when the source is damaged, and when the target holds something else.
    """
    store, place = open_store(source), given_place(target)
    here, there = store.disk, disk_of(place)
    _begin(here, there)
    files = [*_listed(store), *_unlisted(store)]
    with ThreadPoolExecutor(_AT_ONCE) as pool, storage.disk_errors(place):
        written = list(pool.map(lambda file: _copy(here, there, file), files))
    with storage.disk_errors(place):
        _send(here, there, _LAST)
    storage.tidy(place)
    return Copied(open_store(place), sum(written) + 1, len(written) - sum(written))


def _begin(here: Disk, there: Disk) -> None:
    """The target's plan says which store is on its way there."""
    plan = here.read(_FIRST)
    if here.place == there.place:
        raise WorkbenchError(f"'{here.place}' cannot be copied onto itself; name another place.")
    if there.size(_FIRST) is None and there.list():
        raise WorkbenchError(f"'{there.place}' holds other files; name a place that does not exist or is empty.")
    with storage.disk_errors(there.place):
        is_ours = there.create(_FIRST, plan) or there.read(_FIRST) == plan
    if not is_ours or (there.size(_LAST) is not None and there.read(_LAST) != here.read(_LAST)):
        raise WorkbenchError(f"'{there.place}' holds another store; name a place that does not exist or is empty.")


def _listed(store: Store) -> Iterator[_File]:
    for line in store.listed:
        yield _File(line["path"], line["sha256"])


def _unlisted(store: Store) -> Iterator[_File]:
    """What the manifest does not tell of: receipts of shards, and labels that were added later."""
    known = {line["path"] for line in store.listed}
    for entry in (*store.disk.list("shards"), *store.disk.list("labels")):
        if entry.key not in known:
            yield _File(entry.key, storage.sha256(store.path / entry.key))


def _copy(here: Disk, there: Disk, file: _File) -> bool:
    """Whether the file had to be written."""
    is_there = there.size(file.key) is not None
    if is_there and storage.sha256(there.place / file.key) == file.sha256:
        return False
    _send(here, there, *file)
    return True


def _send(here: Disk, there: Disk, key: str, sha256: str | None = None) -> None:
    part, found = storage.temporary(there.place, key), hashlib.sha256()
    try:
        with here.open(key) as source, part.open("wb") as target:
            while chunk := source.read(_CHUNK):
                found.update(chunk)
                target.write(chunk)
        if sha256 is not None and found.hexdigest() != sha256:
            raise WorkbenchError(
                f"'{here.place / key}' does not match its checksum, so it was not copied; `workbench store check` says more."
            )
        there.put(key, part)
    finally:
        part.unlink(missing_ok=True)
