"""Keywords that say what runs the forwards: `load` alone takes them, and every other call says so."""

from collections.abc import Mapping
from typing import Any

from workbench.errors import WorkbenchError


def check_words(call: str, given: Mapping[str, Any]) -> None:
    """Raises for keywords that `call` does not take: `WorkbenchError` for those that belong to `load`, else `TypeError`."""
    for name, value in given.items():
        if name in ("backend", "remote", "engine"):
            raise WorkbenchError(belongs_to_load(call, name, value))
        raise TypeError(f"{call}() got an unexpected keyword argument '{name}'")


def belongs_to_load(call: str, name: str, value: Any) -> str:
    """The sentence for such a keyword."""
    engine = f"engine={value!r}" if isinstance(value, str) and name != "remote" else "engine=..."
    how = "engine='nnsight', remote=True" if name == "remote" else engine
    is_no = "is no word of it" if name == "engine" else "is not a word any more"
    return f"{call}({name}=...) {is_no}: a model is loaded on its engine, load(..., {how})."
