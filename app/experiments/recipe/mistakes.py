"""A recipe's mistake as one sentence: the place in the file, what stands there, and what could."""

import re
import types
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from workbench.errors import suggestion

_WANTED = {
    "int_type": "a whole number",
    "float_type": "a number",
    "string_type": "text",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "finite_number": "a finite number",
}


def sentence(error: ValidationError, model: type[BaseModel], data: Mapping[str, Any], where: str) -> str:
    """The first mistake that pydantic found in `data`."""
    errors = error.errors(include_url=False)
    found = next(
        (e for e in errors if e["type"] == "extra_forbidden"), errors[0]
    )  # a misspelt key is also a missing one
    loc = _written(found["loc"], data)
    place, kind, given = place_of(loc), str(found["type"]), found.get("input")
    if kind == "extra_forbidden":
        if loc[-1] in ("backend", "remote"):
            return f'{where}: \'{place}\' is no key any more: a model says what runs it, engine = "nnsight" here, "ndif" there.'
        known = _fields(model, loc[:-1])
        table = f"'{place_of(loc[:-1])}'" if loc[:-1] else "a recipe"
        return f"{where}: '{place}' is no key of {table}{suggestion(str(loc[-1]), known) or ';'} it can hold {', '.join(known)}."
    if kind == "missing":
        return f"{where}: '{place}' is missing; give it."
    return f"{where}: '{place}' is {_shown(given)}; it should {_wanted(found, given)}"


def place_of(loc: Sequence[str | int]) -> str:
    """`plans[2].n` for ("plans", 2, "n")."""
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _wanted(found: Any, given: Any) -> str:
    context = found.get("ctx") or {}
    if found["type"] == "literal_error":
        expected = str(context["expected"]).replace("'", "")
        words = expected.replace(" or ", ", ").split(", ")
        return f"be {expected}{suggestion(str(given), words) or '.'}"
    if found["type"] in _WANTED:
        return f"be {_WANTED[found['type']]}."
    return f"{re.sub(r'^[A-Za-z]+ should ', '', str(found['msg']))}."


def _shown(given: Any) -> str:
    text = f"'{given}'" if isinstance(given, str) else str(given).lower() if isinstance(given, bool) else repr(given)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _written(loc: tuple[int | str, ...], data: Any) -> tuple[int | str, ...]:
    """The place as the file has it: no index where no list stands, and none of pydantic's names for alternatives."""
    out: list[int | str] = []
    for number, part in enumerate(loc):
        is_last = number == len(loc) - 1
        if isinstance(data, Mapping):
            if part not in data and not is_last:
                break
            data = data.get(part)
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            data = data[part]
        else:
            break
        out.append(part)
    return tuple(out)


def _fields(model: type[BaseModel], loc: Sequence[str | int]) -> list[str]:
    """The keys of the table at `loc`, followed through lists, dicts and alternatives."""
    found: Any = model
    for part in loc:
        if isinstance(found, type) and issubclass(found, BaseModel) and part in found.model_fields:
            found = found.model_fields[str(part)].annotation
        found = _inner(found)
    return list(found.model_fields) if isinstance(found, type) and issubclass(found, BaseModel) else []


def _inner(annotation: Any) -> Any:
    """The section in an annotation such as tuple[Annotated[Plans, ...], ...] or Judge | None; else the annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (Annotated, Union, types.UnionType, tuple, dict):
        for argument in get_args(annotation):
            inner = _inner(argument)
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                return inner
    return annotation
