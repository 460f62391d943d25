"""What a module of transformers answers: a tensor, or several things of which the first is meant."""

from typing import Any


def first(value: Any) -> Any:
    """A module's answer, or the first part of it."""
    return value[0] if isinstance(value, tuple | list) else value
