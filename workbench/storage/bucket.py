"""A part of a bucket as a disk: objects are whole or not there by themselves, and are read by ranges."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from workbench.paths import Address
from workbench.storage.clients import asked
from workbench.storage.disk import Entry


@dataclass(frozen=True)
class Bucket:
    """See `Disk`."""

    place: Address

    def read(self, key: str, start: int = 0, size: int | None = None) -> bytes:
        """See `Disk.read`."""
        if size == 0:
            return b""
        of = (
            {}
            if size is None and not start
            else {"range": {"offset": start} if size is None else (start, start + size)}
        )
        return bytes(
            asked(self.place, lambda o, c: o.get(c, self._key(key), options=of).bytes(), f"{self.place / key}")
        )

    def open(self, key: str, size: int | None = None) -> BinaryIO:
        """See `Disk.open`."""
        known = self.size(key) if size is None else size
        if known is None:
            raise FileNotFoundError(f"there is no '{self.place / key}'")
        return cast("BinaryIO", Ranges(self, key, known))

    def size(self, key: str) -> int | None:
        """See `Disk.size`."""
        try:
            return int(asked(self.place, lambda o, c: o.head(c, self._key(key)), key)["size"])
        except FileNotFoundError:
            return None

    def list(self, folder: str = "") -> list[Entry]:
        """See `Disk.list`."""
        below = len(self.place.key) + 1 if self.place.key else 0
        prefix = self._key(folder).strip("/")
        chunks = asked(self.place, lambda o, c: [list(chunk) for chunk in o.list(c, prefix or None)], folder)
        return sorted(
            Entry(found["path"][below:], found["size"], f"{found['size']} {found['e_tag']} {found['last_modified']}")
            for chunk in chunks
            for found in chunk
        )

    def put(self, key: str, part: Path, *, flush: bool = True) -> None:
        """See `Disk.put`; in several parts where it is large, which become an object together or not at all."""
        asked(self.place, lambda o, c: o.put(c, self._key(key), part), key)
        part.unlink()

    def create(self, key: str, content: bytes) -> bool:
        """See `Disk.create`."""
        tried = list[bool]()

        def attempt(obstore: Any, client: Any) -> bool:
            tried.append(True)
            try:
                obstore.put(client, self._key(key), content, mode="create")
            except obstore.exceptions.AlreadyExistsError:
                # an attempt whose answer was lost may have been ours
                return len(tried) > 1 and self.read(key) == content
            return True

        return asked(self.place, attempt, key)

    def delete(self, key: str) -> None:
        """See `Disk.delete`."""
        asked(self.place, lambda o, c: _deleted(o, c, self._key(key)), key)

    def _key(self, key: str) -> str:
        return (self.place / key).key


def _deleted(obstore: Any, client: Any, key: str) -> None:
    try:
        obstore.delete(client, key)
    except FileNotFoundError:  # in memory; S3 says nothing of it
        return


class Ranges(io.RawIOBase):
    """An object as a file: each read is a request for that range."""

    def __init__(self, bucket: Bucket, key: str, size: int) -> None:
        self._bucket, self._name, self._size, self._at = bucket, key, size, 0

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """Where the next read begins."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Moves there."""
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Reads into a buffer; how many bytes."""
        view = memoryview(buffer).cast("B")
        found = self._bucket.read(self._name, self._at, max(0, min(len(view), self._size - self._at)))
        view[: len(found)] = found
        self._at += len(found)
        return len(found)
