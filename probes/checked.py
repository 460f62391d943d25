"""The door of every probe: what Python passes is of the kind that the signature says, as it is at a terminal and in a recipe.

Numbers, yes and no, and lists of them are looked at here, once for all probes. Texts, words to choose from, masks of tokens and
values of several fields are looked at where they are read, which knows what is there.
"""

import inspect
import types
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cache, wraps
from math import isfinite
from typing import Any, ParamSpec, TypeVar, Union, get_args, get_origin

from workbench.errors import WorkbenchError

KINDS: dict[Any, str] = {bool: "true or false", int: "a whole number", float: "a finite number", str: "text"}
_MANY = {int: "whole numbers", float: "finite numbers", str: "texts"}
_Given = ParamSpec("_Given")
_Answer = TypeVar("_Answer")


def checked(ask: Callable[_Given, _Answer]) -> Callable[_Given, _Answer]:
    """Decorates a probe: it raises `WorkbenchError` for an argument of another kind before anything is read."""

    @wraps(ask)
    def asked(*args: _Given.args, **options: _Given.kwargs) -> _Answer:
        kinds = _kinds(ask)
        for name, value in (*zip(kinds, args, strict=False), *options.items()):
            if name in kinds and (wrong := _wrong(kinds[name], name, value)):
                raise WorkbenchError(f"{ask.__name__}: {name}={value!r} {wrong}.")
        return ask(*args, **options)

    return asked


def alternatives(kind: Any) -> tuple[Any, ...]:
    """The kinds of which an annotation takes each."""
    if get_origin(kind) not in (Union, types.UnionType):
        return (kind,)
    return tuple(one for part in get_args(kind) for one in alternatives(part))


@cache
def _kinds(ask: Callable[..., Any]) -> dict[str, tuple[Any, ...]]:
    return {name: alternatives(p.annotation) for name, p in inspect.signature(ask).parameters.items()}


def _wrong(kinds: tuple[Any, ...], name: str, value: Any) -> str:
    """What is wrong with it, to end a sentence with; empty where nothing is, or where it is not for this door to say."""
    numbers = {*KINDS} - {str}  # who reads a text knows what may stand there
    if not any(one in numbers or _item(one) in numbers for one in kinds) or any(_is_other(one) for one in kinds):
        return ""
    if not any(_takes(one, value) for one in kinds):
        return f"makes no sense; it should be {' or '.join(dict.fromkeys(_said(kinds)))}"
    return "is below 0; give a whole number from 0 on" if is_drawn(name) and value is not None and value < 0 else ""


def is_drawn(name: str) -> bool:
    """Whether an option is what random draws start from, or how many there are: never below 0."""
    return name == "seed" or name.startswith("n_")


def _is_other(kind: Any) -> bool:
    """Whether an annotation takes more than this door knows: words, masks, values of several fields."""
    return kind not in KINDS and kind is not type(None) and _item(kind) not in KINDS


def _item(kind: Any) -> Any:
    """What a list holds; None of anything else."""
    return get_args(kind)[0] if get_origin(kind) in (list, tuple) else None


def _takes(kind: Any, value: Any) -> bool:
    if kind is type(None):
        return value is None
    if kind not in KINDS:
        many = isinstance(value, Collection) and not isinstance(value, str | bytes | Mapping)
        return many and all(_takes(_item(kind), one) for one in value)
    if getattr(value, "shape", None) == ():
        value = value.item()  # a number of numpy
    if kind in (bool, str):
        return isinstance(value, kind)
    number = isinstance(value, int if kind is int else (int, float)) and not isinstance(value, bool)
    return number and isfinite(value)


def _said(kinds: tuple[Any, ...]) -> Iterator[str]:
    for one in kinds:
        yield "None" if one is type(None) else KINDS.get(one) or f"a list of {_MANY[_item(one)]}"
