"""Files that are either whole or not there: written under a temporary name, flushed to disk, renamed or sent.

The temporary name lies in the hidden folder `.writing` of the store, on the same filesystem, and never ends in
`.parquet`: DuckDB's and Polars' globs read files that start with a dot or an underscore. What goes to object storage is written
in the folder for temporary files first.
"""

import errno
import hashlib
import json
import os
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from workbench.errors import WorkbenchError
from workbench.paths import Address, Place, given_path
from workbench.storage.disks import disk_of
from workbench.storage.folder import WRITING

_CHUNK = 2**23
"""Bytes of a request, where a file is read from its beginning to its end."""


class Written(NamedTuple):
    """A file of a store: its path inside the store, size in bytes and SHA-256."""

    path: str
    size_bytes: int
    sha256: str


def temporary(store: Place, path: str) -> Path:
    """Where `path` of the store is written before it has its name; a new file each time."""
    above = Path(tempfile.gettempdir()) / f"workbench-{os.getuid()}" if isinstance(store, Address) else store
    folder = above / WRITING
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{path.replace('/', '+')}.{uuid.uuid4().hex}.part"


def publish(store: Place, part: Path, path: str, *, flush: bool = True) -> Written:
    """Gives `part` the name `path` in the store, whole; returns its size and checksum.

    `flush`: the name survives a power cut as well.
    """
    with part.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        size = file.tell()
    disk_of(store).put(path, part, flush=flush)
    return Written(path, size, sha256)


def tidy(store: Place) -> None:
    """Removes what killed processes left of shards, once all are complete. The folder stays: others may be about to use it."""
    for file in [] if isinstance(store, Address) else (store / WRITING).glob("*"):
        if "+" in file.name or file.suffix == ".lock":
            file.unlink(missing_ok=True)


def write_json(store: Place, path: str, value: Any, *, flush: bool = True) -> Written:
    """Writes a JSON file to the store."""
    part = temporary(store, path)
    part.write_bytes(_json(value))
    return publish(store, part, path, flush=flush)


def create_json(store: Place, path: str, value: Any) -> bool:
    """Writes a JSON file unless it is there already, atomically among processes; returns whether it was written."""
    return disk_of(store).create(path, _json(value))


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()


def read_json(path: Place) -> Any:
    """The object in a JSON file; `WorkbenchError` when it is damaged."""
    content = disk_of(path.parent).read(path.name)
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise WorkbenchError(f"'{path}' is damaged ({error}); it should be JSON that workbench wrote.") from error
    if not isinstance(found, dict):
        raise WorkbenchError(f"'{path}' is damaged (it holds no object); it should be JSON that workbench wrote.")
    return found


def sha256(path: Place) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    found = hashlib.sha256()
    with disk_of(path.parent).open(path.name) as file:
        while chunk := file.read(_CHUNK):
            found.update(chunk)
    return found.hexdigest()


def check_spelling(path: Place) -> None:
    """Raises `WorkbenchError` for a path with bytes that are not UTF-8: Arrow cannot open files there."""
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise WorkbenchError(
            f"The path {str(path)!a} holds a byte that is not UTF-8, so Parquet files cannot lie there; choose another folder."
        ) from error


def check_writable(path: str | Path) -> None:
    """Raises `WorkbenchError` unless a file could be written at `path`: asked before work whose result will go there."""
    final = given_path(path).resolve()
    if final.is_dir():
        raise WorkbenchError(f"'{path}' is a folder; name a file to write.")
    if not final.parent.is_dir():
        raise WorkbenchError(f"There is no folder '{final.parent}' to write '{path}' in; make it, or name another.")
    if not os.access(final if _is_special(final) else final.parent, os.W_OK):
        raise WorkbenchError(
            f"'{path}' cannot be written (permission denied or a read-only disk); choose another place."
        )


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A temporary file beside `path` to write to; it takes the place of `path` when the block ends well, else it goes.

    What is no regular file (a pipe, /dev/stdout) is written as it is.
    """
    final = given_path(path).resolve()
    if _is_special(final):
        yield final
        return
    part = final.with_name(f".{uuid.uuid4().hex}.part{final.suffix}")
    try:
        yield part
        with part.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(part, final)
    finally:
        part.unlink(missing_ok=True)


def _is_special(path: Path) -> bool:
    return path.exists() and not path.is_file()


def write_text(path: str | Path, text: str) -> None:
    """Writes a text file whole or not at all."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


@contextmanager
def disk_errors(store: Place) -> Iterator[None]:
    """Turns a full disk, a read-only folder or a missing permission into one sentence."""
    try:
        yield
    except OSError as error:
        reason = _DISK.get(error.errno or 0)
        if reason is None:
            raise
        raise WorkbenchError(reason(store)) from error


_DISK: dict[int, Callable[[Place], str]] = {
    errno.ENOSPC: lambda store: (
        f"The disk is full while writing '{store}'; what is complete stays: free some space and run the same again, "
        f"it goes on from there."
    ),
    errno.EDQUOT: lambda store: (
        f"Your disk quota is used up while writing '{store}'; what is complete stays: free some space and run the same "
        f"again, it goes on from there."
    ),
    errno.EACCES: lambda store: f"'{store}' cannot be written (permission denied); choose a folder that you own.",
    errno.EROFS: lambda store: f"'{store}' is on a read-only disk; choose a folder elsewhere.",
    errno.ENOTDIR: lambda store: (
        f"'{store}' cannot be written because a file of its path is no folder; choose another."
    ),
    errno.EEXIST: lambda store: f"'{store}' cannot be written because a file has that name; choose another.",
}
