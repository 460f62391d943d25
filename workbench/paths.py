"""Paths as people write them, wherever one is taken: `~` and `~NAME` are home folders, as in a shell.

A store may also lie on object storage, at an `Address` such as s3://bucket/stores/x.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.errors import WorkbenchError

Given = str | os.PathLike[str]
_ADDRESS = re.compile(r"(s3|gs|az|memory):/{1,2}(.*)", re.DOTALL)
"""One slash is what pathlib leaves of two."""


@dataclass(frozen=True, order=True)
class Address:
    """A place on object storage. Whoever may read and write there is never part of it."""

    scheme: str
    bucket: str
    key: str = ""

    def __str__(self) -> str:
        return f"{self.scheme}://{self.bucket}" + (f"/{self.key}" if self.key else "")

    def __truediv__(self, name: str) -> "Address":
        return Address(self.scheme, self.bucket, f"{self.key}/{name}".strip("/"))

    @property
    def name(self) -> str:
        """The last part."""
        return self.key.rpartition("/")[2] or self.bucket

    @property
    def parent(self) -> "Address":
        """The address without its last part."""
        return Address(self.scheme, self.bucket, self.key.rpartition("/")[0])


Place = Path | Address


def given_place(place: Given | Address) -> Place:
    """Where a store lies: a folder, or an address on object storage.

    Raises `WorkbenchError` for what is neither, and for an address with credentials in it, which it does not repeat.
    """
    found = place if isinstance(place, Address) else _address(place)
    return found if found is not None else _local(place)


def _address(place: Any) -> Address | None:
    matched = _ADDRESS.fullmatch(os.fspath(place)) if isinstance(place, str | os.PathLike) else None
    if matched is None:
        return None
    scheme, rest = matched[1], matched[2]
    bucket, _, key = rest.partition("/")
    if "@" in rest or ":" in bucket or "?" in rest:
        raise WorkbenchError(
            f"An address {scheme}://... holds credentials or options; name the bucket and the store alone, as in "
            f"{scheme}://bucket/stores/x, and give keys in the environment ({KEYS[scheme]})."
        )
    if not bucket:
        raise WorkbenchError(f"'{scheme}://{rest}' names no bucket; write {scheme}://bucket/stores/x.")
    return Address(scheme, bucket, key.strip("/"))


KEYS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
    "memory": "it needs none",
}
"""Where credentials are looked for."""


def given_path(path: Given) -> Path:
    """The path that is meant. `~NAME` of nobody here stays a name, as a shell leaves it.

    Raises `WorkbenchError` for what is no path, and for an address: here only a file or folder of this machine will do.
    """
    if (address := _address(path)) is not None:
        raise WorkbenchError(f"'{address}' lies on object storage; here a file or folder of this machine is needed.")
    return _local(path)


def _local(path: Any) -> Path:
    found: Any = os.fspath(path) if isinstance(path, str | os.PathLike) else path
    if not isinstance(found, str) or "\0" in found:
        raise WorkbenchError(f"{path!r:.80} is no path; give the name of a file or folder as text.")
    try:
        return Path(found).expanduser()
    except RuntimeError:
        return Path(found)


def given_source(source: Any) -> Any:
    """What names a model, tokenizer, recipe or prompt file, as text with `~` resolved; anything else as it is.

    Bundled names and Hugging Face ids never begin with `~`.
    """
    if isinstance(source, str | os.PathLike):
        text = os.fspath(source)
        return str(given_path(text)) if isinstance(text, str) and text.startswith("~") else text
    return source


def cache_folder() -> Path:
    """Where what is fetched or made once is kept: `WORKBENCH_CACHE`, else `moe-workbench` in the user's cache folder."""
    given = os.environ.get("WORKBENCH_CACHE")
    return given_path(given) if given else given_path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "moe-workbench"
