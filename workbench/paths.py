"""Paths as people write them, wherever one is taken: `~` and `~NAME` are home folders, as in a shell."""

import os
from pathlib import Path
from typing import Any

from workbench.errors import WorkbenchError

Given = str | os.PathLike[str]


def given_path(path: Given) -> Path:
    """The path that is meant. `~NAME` of nobody here stays a name, as a shell leaves it.

    Raises `WorkbenchError` for what is no path.
    """
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
