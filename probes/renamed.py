"""Old words of a probe's arguments: who says one is told today's, in Python, in a recipe and at a terminal."""

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from workbench.errors import WorkbenchError

_Given = ParamSpec("_Given")
_Answer = TypeVar("_Answer")


def renamed(**words: str) -> Callable[[Callable[_Given, _Answer]], Callable[_Given, _Answer]]:
    """Decorates a function whose arguments had other names once: `positive="target"`.

    Called by an old name it raises `WorkbenchError` with the new one.
    """

    def around(ask: Callable[_Given, _Answer]) -> Callable[_Given, _Answer]:
        @wraps(ask)
        def asked(*args: _Given.args, **options: _Given.kwargs) -> _Answer:
            for old in words:
                if old in options:
                    raise WorkbenchError(
                        f"{ask.__name__} calls '{old}' {words[old]} now; give {words[old]}={options[old]!r}."
                    )
            return ask(*args, **options)

        asked.__dict__["old_words"] = words
        return asked

    return around


def old_words(ask: Callable[..., Any]) -> Mapping[str, str]:
    """Old names of a probe's arguments, each with today's."""
    return getattr(ask, "old_words", {})
