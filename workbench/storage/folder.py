"""A folder of this machine as a disk."""

import os
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from workbench.storage.disk import Entry

WRITING = ".writing"


@dataclass(frozen=True)
class Folder:
    """See `Disk`. What is written has a temporary name in the hidden folder `.writing` until it is whole."""

    place: Path

    def read(self, key: str, start: int = 0, size: int | None = None) -> bytes:
        """See `Disk.read`."""
        with self.open(key) as file:
            file.seek(start)
            return file.read(-1 if size is None else size)

    def open(self, key: str, size: int | None = None) -> BinaryIO:
        """See `Disk.open`."""
        return (self.place / key).open("rb")

    def size(self, key: str) -> int | None:
        """See `Disk.size`."""
        path = self.place / key
        return path.stat().st_size if path.is_file() else None

    def list(self, folder: str = "") -> list[Entry]:
        """See `Disk.list`; what is being written is not there yet."""
        found: list[Entry] = []
        for at, folders, files in os.walk(self.place / folder):
            folders[:] = [name for name in folders if name != WRITING]
            found += [self._entry(Path(at, name)) for name in files]
        return sorted(found)

    def _entry(self, path: Path) -> Entry:
        at = path.stat()
        return Entry(path.relative_to(self.place).as_posix(), at.st_size, f"{at.st_size} {at.st_mtime_ns} {at.st_ino}")

    def put(self, key: str, part: Path, *, flush: bool = True) -> None:
        """See `Disk.put`."""
        final = self.place / key
        final.parent.mkdir(parents=True, exist_ok=True)
        _flush_file(part)
        os.replace(part, final)
        if flush:
            flush_folder(final.parent)

    def create(self, key: str, content: bytes) -> bool:
        """See `Disk.create`."""
        part = self.place / WRITING / f"{key.replace('/', '+')}.{uuid.uuid4().hex}.part"
        for folder in (part.parent, (self.place / key).parent):
            folder.mkdir(parents=True, exist_ok=True)
        part.write_bytes(content)
        _flush_file(part)
        try:
            os.link(part, self.place / key)  # fails when the name exists, where a rename would replace it
        except FileExistsError:
            return False
        finally:
            part.unlink()
        flush_folder((self.place / key).parent)
        return True

    def delete(self, key: str) -> None:
        """See `Disk.delete`."""
        (self.place / key).unlink(missing_ok=True)


def _flush_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def flush_folder(folder: Path) -> None:
    """Makes a rename in `folder` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
