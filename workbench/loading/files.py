"""A full hash of a checkpoint's files, taken while transformers reads them: any byte that changes, in any tensor, changes it."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from workbench.paths import given_path

_PIECE = 16 << 20  # bytes that one thread hashes at a time
_THREADS = 4


class Piece(NamedTuple):
    """A part of a file: the folder's number, the file's name in it, where the part starts."""

    folder: int
    name: str
    start: int


@contextmanager
def hashed_meanwhile(source: str, hub: dict[str, Any]) -> Iterator[Callable[[], str | None]]:
    """While open, the files of a checkpoint are hashed in other threads; yields what waits for the hash.

    source, hub  what `from_pretrained` is called with

    The hash is 64 hex digits; None where it cannot be told which files those are, or one cannot be read. Leaving the block
    early stops it.
    """
    pool = ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1), "hashing")
    try:
        begun = _begun(pool, source, hub) if given_path(source).is_dir() else None
        # the files of a Hugging Face id may be here only when it was loaded
        yield lambda: _whole(begun or _begun(pool, source, hub))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _begun(pool: ThreadPoolExecutor, source: str, hub: dict[str, Any]) -> dict[Piece, "Future[bytes]"] | None:
    """The hash of each piece, to be; None where the files are not known."""
    try:
        folders = _folders(source, hub)
        files = [(n, name, folder / name) for n, folder in enumerate(folders) for name in _names(folder)]
        return {
            Piece(n, name, start): pool.submit(_hash, path, start)
            for n, name, path in files
            for start in range(0, max(1, path.stat().st_size), _PIECE)
        }
    except (OSError, ValueError):  # not here, or no JSON: whoever loads it says so
        return None


def _whole(pieces: dict[Piece, "Future[bytes]"] | None) -> str | None:
    if pieces is None:
        return None
    whole = hashlib.sha256()
    try:
        for piece, found in pieces.items():
            whole.update(json.dumps(piece).encode() + found.result())
    except OSError:
        return None
    return whole.hexdigest()


def _hash(path: Path, start: int) -> bytes:
    with path.open("rb") as file:
        file.seek(start)
        return hashlib.sha256(file.read(_PIECE)).digest()


def _folders(source: str, hub: dict[str, Any]) -> list[Path]:
    """The checkpoint's folder, behind that of an adapter the folder of its base model. Raises `OSError` where one is not here."""
    folder = _folder(source, hub)
    adapter = folder / "adapter_config.json"
    if not adapter.exists():
        return [folder]
    base = json.loads(adapter.read_text("utf-8"))
    if not isinstance(base, dict) or not isinstance(base.get("base_model_name_or_path"), str):
        raise ValueError
    return [folder, _folder(base["base_model_name_or_path"], {"revision": base.get("revision")})]


def _folder(source: str, hub: dict[str, Any]) -> Path:
    from huggingface_hub import snapshot_download

    folder = given_path(source)
    if not folder.is_dir():
        options = {name: hub[name] for name in ("revision", "cache_dir") if hub.get(name)}
        folder = Path(snapshot_download(source, local_files_only=True, **options))
    return folder / (hub.get("subfolder") or "")


def _names(folder: Path) -> list[str]:
    """All files that lie in a folder, and those that an index there names elsewhere."""
    here = {path.name for path in folder.iterdir() if path.is_file()}
    for index in folder.glob("*.index.json"):
        here |= set(json.loads(index.read_text("utf-8")).get("weight_map", {}).values())
    return sorted(here)
