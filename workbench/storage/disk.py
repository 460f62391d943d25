"""One door to the files of a store, wherever it lies: what every disk can do."""

from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

from workbench.paths import Place


class Entry(NamedTuple):
    """A file of a disk: its key, size in bytes, and what tells this content from another under the same key."""

    key: str
    size: int
    stamp: str


class Disk(Protocol):
    """Files by key, such as `slots/00003.parquet`, each whole or not there."""

    @property
    def place(self) -> Place:
        """What keys are relative to."""
        ...

    def read(self, key: str, start: int = 0, size: int | None = None) -> bytes:
        """So many bytes of a file from `start`, fewer at its end. Raises `FileNotFoundError`."""
        ...

    def open(self, key: str, size: int | None = None) -> BinaryIO:
        """The file for reading, with seek; `size` where it is known. Raises `FileNotFoundError`."""
        ...

    def size(self, key: str) -> int | None:
        """Its size in bytes; None where there is no such file."""
        ...

    def list(self, folder: str = "") -> list[Entry]:
        """Every file below, in order of keys."""
        ...

    def put(self, key: str, part: Path, *, flush: bool = True) -> None:
        """`part`, a file of this machine, takes the name and is gone; a file of that name is replaced.

        flush: the name survives a power cut.
        """
        ...

    def create(self, key: str, content: bytes) -> bool:
        """Writes a file unless one has the name; of several who try at once one succeeds. Whether it was written."""
        ...

    def delete(self, key: str) -> None:
        """Removes the file; nothing where there is none."""
        ...
