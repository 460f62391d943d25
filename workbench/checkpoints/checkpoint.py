"""A named checkpoint: which dense model it is made of, how many experts it has, and what its bundled additions are.

`additions.json` says it, beside `additions.safetensors` (data/checkpoints/README.md).
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from workbench.checkpoints.wheels import Wheel
from workbench.errors import WorkbenchError, listed
from workbench.storage import read_json

STATED, TENSORS = "additions.json", "additions.safetensors"
FORMAT = 1
"""Of the two files. What an older workbench cannot read has another number."""
_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}")
_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+!-]{0,63}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LONGEST = 100  # characters of what a checkpoint says about itself


class Base(NamedTuple):
    """Another bundled checkpoint, whose additions hold here as well."""

    name: str
    tensors: str
    """The SHA-256 of its additions.safetensors."""


class Checkpoint(NamedTuple):
    """What `additions.json` says.

    wheel        where the dense model's GGUF file lies, which has the SHA-256 `gguf`
    parameters   of the dense model; each takes four bytes once it is converted
    experts      routed ones of every layer, of which a token gets `top_k`; beside them a shared expert of `shared` groups
    tensors      the SHA-256 of additions.safetensors
    base         whose additions come before these; None: nobody's
    about        what it does beyond that, in a few words
    """

    name: str
    version: str
    wheel: Wheel
    gguf: str
    parameters: int
    experts: int
    shared: int
    top_k: int
    licence: str
    tensors: str
    folder: Path
    base: Base | None = None
    about: str | None = None

    @property
    def converted_bytes(self) -> int:
        """What it takes on the disk, in float32."""
        return 4 * self.parameters

    @property
    def what(self) -> str:
        """One line, which says what its experts are."""
        return (
            f"a dense model ({self.wheel.package} {self.wheel.version}) whose neurons lie in groups: {self.experts} of them "
            f"routed, {self.top_k} a token, {self.shared} shared{f'; {self.about}' if self.about else ''}"
        )


def read_checkpoint(folder: Path) -> Checkpoint:
    """What the folder's `additions.json` says; `WorkbenchError` where it is not all there or cannot be."""
    path = folder / STATED
    given = read_json(path)
    if given.get("format") != FORMAT:
        raise WorkbenchError(
            f"'{path}' has format {given.get('format')!r:.40}, not {FORMAT}; install the workbench that it is of."
        )
    top = _fields(path, {"base": None, "about": None, **given}, _TOP)
    source = _fields(path, given["source"], _SOURCE)
    if not 1 <= top["top_k"] <= top["experts"]:
        raise WorkbenchError(
            f"'{path}' gives a token {top['top_k']} of {top['experts']} experts; it should be 1 to all."
        )
    wheel = Wheel(source["package"], source["version"], source["sha256"], source["size_bytes"])
    kept = {key: top[key] for key in ("name", "version", "experts", "shared", "top_k", "licence", "about")}
    kept |= {"gguf": source["gguf_sha256"], "parameters": source["parameters"], "tensors": top["sha256"]}
    base = None if top["base"] is None else _fields(path, top["base"], _BASE)
    return Checkpoint(
        **kept, wheel=wheel, folder=folder, base=None if base is None else Base(base["name"], base["sha256"])
    )


def stated(checkpoint: Checkpoint) -> dict[str, Any]:
    """The object of `additions.json`; what `read_checkpoint` reads."""
    wheel = checkpoint.wheel
    source = {
        "package": wheel.package,
        "version": wheel.version,
        "sha256": wheel.sha256,
        "size_bytes": wheel.size_bytes,
    }
    kept = {key: getattr(checkpoint, key) for key in ("name", "version", "experts", "shared", "top_k", "licence")}
    source |= {"gguf_sha256": checkpoint.gguf, "parameters": checkpoint.parameters}
    base = (
        {} if checkpoint.base is None else {"base": {"name": checkpoint.base.name, "sha256": checkpoint.base.tensors}}
    )
    about = {"about": checkpoint.about} if checkpoint.about else {}
    return {"format": FORMAT, **kept, **about, **base, "source": source, "sha256": checkpoint.tensors}


def _text(pattern: re.Pattern[str]) -> Any:
    return lambda value: isinstance(value, str) and bool(pattern.fullmatch(value))


def _whole(least: int) -> Any:
    return lambda value: type(value) is int and least <= value < 2**53


def _is_words(value: Any) -> bool:
    return isinstance(value, str) and 1 <= len(value) <= _LONGEST and value.isprintable()


_TOP: dict[str, Any] = {
    "format": _whole(FORMAT),
    "name": _text(_NAME),
    "version": _text(_PART),
    "source": lambda value: isinstance(value, dict),
    "experts": _whole(1),
    "shared": _whole(0),
    "top_k": _whole(1),
    "sha256": _text(_SHA256),
    "licence": _text(_PART),
    "about": lambda value: value is None or _is_words(value),
    "base": lambda value: value is None or isinstance(value, dict),
}
_BASE: dict[str, Any] = {"name": _text(_NAME), "sha256": _text(_SHA256)}
_SOURCE: dict[str, Any] = {
    "package": _text(_PART),  # it becomes part of an address and of a file's name
    "version": _text(_PART),
    "sha256": _text(_SHA256),
    "size_bytes": _whole(1),
    "gguf_sha256": _text(_SHA256),
    "parameters": _whole(1),
}


def _fields(path: Path, given: Mapping[str, Any], known: Mapping[str, Any]) -> Mapping[str, Any]:
    """These keys and no others, each with a value of its kind."""
    wrong = [key for key, fits in known.items() if key not in given or not fits(given[key])]
    wrong += [key for key in given if key not in known]
    if wrong:
        raise WorkbenchError(
            f"'{path}' is damaged: {listed(wrong)} should not be there or is not what it should be (data/checkpoints/README.md); "
            f"install the workbench again."
        )
    return given
