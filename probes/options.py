"""A probe's options as they come from a command line or a recipe: each known by name, and of the kind that the probe takes.

The kinds are those of the probe's signature. An option that is a value of several fields, such as `massive`, is set by a table of
them, or field by field: `massive.absolute=1000` on the command line, `massive.absolute = 1000` in a recipe,
`MassiveRule(absolute=1000)` in Python. Fields that are not set keep their defaults.
"""

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from math import isfinite
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

from probes.catalogue import Method
from probes.checked import KINDS, alternatives, is_drawn
from workbench.errors import WorkbenchError, suggestion


class Mistake(NamedTuple):
    """What is wrong with an option: its name, dotted where a field of it is meant, and the rest of a sentence."""

    name: str
    what: str


def options_for(method: Method, given: Mapping[str, Any]) -> dict[str, Any]:
    """`given` as the probe's arguments. Raises `WorkbenchError` for the first that it does not have or cannot take."""
    found = mistake(method, given)
    if found is not None:
        raise WorkbenchError(f"{method.name}: '{found.name}' {found.what}")
    kinds = kinds_of(method)
    return {name: _built(kinds[name], value) for name, value in given.items()}


def mistake(method: Method, given: Mapping[str, Any]) -> Mistake | None:
    """The first of these options that the probe does not have or cannot take."""
    return next(_mistakes("", kinds_of(method), given, method.name), None)


def kinds_of(method: Method) -> dict[str, Any]:
    """The annotation of every option, from the signature."""
    parameters = inspect.signature(method.load()).parameters.values()
    return {p.name: p.annotation for p in parameters if p.name != "store"}


def read_text(method: Method, name: str, text: str, read: Any) -> Any:
    """Which of the two an option takes: `read`, the text as JSON reads it, or the text itself (labels are called 7 and true)."""
    kind: Any = kinds_of(method).get(name.partition(".")[0])
    for field in name.split(".")[1:]:
        kind = _fields(kind).get(field)
    return text if kind is not None and not _takes(kind, read) and _takes(kind, text) else read


def _mistakes(before: str, kinds: Mapping[str, Any], given: Mapping[str, Any], owner: str) -> Iterator[Mistake]:
    for name, value in given.items():
        if name not in kinds:
            near = suggestion(name, list(kinds)) or ";"
            yield Mistake(before + name, f"is no option of {owner}{near} it has {', '.join(kinds) or 'none'}.")
        elif isinstance(value, Mapping) and _fields(kinds[name]):
            yield from _mistakes(f"{before}{name}.", _fields(kinds[name]), value, name)
        elif not _takes(kinds[name], value):
            near = suggestion(value, _words(kinds[name])) if isinstance(value, str) else ""
            yield Mistake(before + name, f"is {_shown(value)}; it should be {_said(kinds[name])}{near or '.'}")
        elif is_drawn(name) and isinstance(value, int) and value < 0:
            yield Mistake(before + name, f"is {value}; it should be a whole number from 0 on.")


def _fields(kind: Any) -> dict[str, Any]:
    """The fields of a value: those of the one class among `kind` that is a NamedTuple or a dataclass; none of anything else."""
    for one in alternatives(kind):
        if isinstance(one, type) and (is_dataclass(one) or hasattr(one, "_fields")):
            return get_type_hints(one)
    return {}


def _takes(kind: Any, value: Any) -> bool:
    return any(_takes_one(one, value) for one in alternatives(kind))


def _takes_one(kind: Any, value: Any) -> bool:
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal:
        return any(type(value) is type(word) and value == word for word in inner)
    if kind is float:
        return type(value) in (int, float) and isfinite(value)
    if kind in (bool, int, str):
        return type(value) is kind
    if origin is list:
        return isinstance(value, list) and all(_takes(inner[0], x) for x in value)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return isinstance(value, Mapping) and all(_takes(inner[0], k) and _takes(inner[1], v) for k, v in value.items())
    return isinstance(value, origin or kind)


def _built(kind: Any, value: Any) -> Any:
    """A value of several fields from a table of them; anything else as it is."""
    if not isinstance(value, Mapping) or not _fields(kind):
        return value
    (made,) = (one for one in alternatives(kind) if _fields(one))
    return made(**{name: _built(_fields(kind)[name], field) for name, field in value.items()})


def _words(kind: Any) -> list[str]:
    """The words to choose from, where there are any."""
    return [word for one in alternatives(kind) if get_origin(one) is Literal for word in get_args(one)]


def _said(kind: Any) -> str:
    """What can be written for it; what only Python can pass (a function, a mask of tokens) is not spoken of."""
    parts = [f"one of {', '.join(_words(kind))}"] if _words(kind) else []
    for one in alternatives(kind):
        parts += [KINDS[one]] if one in KINDS else []
        parts += [f"a table of {', '.join(_fields(one))}"] if _fields(one) else []
        parts += ["a list"] if get_origin(one) is list else []
        parts += ["a table of names and numbers"] if get_origin(one) is Mapping else []
        parts += ["nothing (null)"] if one is type(None) and len(parts) else []
    return " or ".join(parts)


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return f"'{value}'"
    return (
        {None: "null", True: "true", False: "false"}[value]
        if value is None or value is True or value is False
        else str(value)
    )
