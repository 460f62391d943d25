"""Every table of a recipe with its keys as Markdown, from the models that check it."""

import json
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel


def recipe_keys() -> str:
    """Every table of a recipe with its keys, in the order in which a recipe is written."""
    from workbench_app.experiments.recipe import Recipe, sections

    tables = {
        "The recipe": Recipe,
        "A model": sections.ModelSource,
        "[prompts.NAME]": sections.Prompts,
        "[metrics.NAME]": sections.NamedMetric,
        "[capture]": sections.Capture,
        "[[rankings]]": sections.Ranking,
        "[[plans]]": sections.Plans,
        "A part of a plan": sections.Part,
        "[controls]": sections.Controls,
        "[statistics]": sections.Statistics,
        "[measure]": sections.Measure,
        "[judge]": sections.Judge,
        "[[claims]]": sections.Claim,
        "[choice]": sections.Choice,
        "[claims.paper]": sections.PaperNumber,
        "[paper]": sections.Paper,
        "[[references]]": sections.Reference,
    }
    return "\n".join(f"### {f'`{name}`' if '[' in name else name}\n\n{_keys(model)}" for name, model in tables.items())


def _keys(model: Any) -> str:
    rows = ["| key | value | default | |", "|---|---|---|---|"]
    for name, field in model.model_fields.items():
        needed = field.is_required()
        given = None if needed else field.get_default(call_default_factory=True)
        default = "" if given is None else _value(given)
        about = " ".join((field.description or "").split()).replace("|", "\\|")
        rows.append(f"| `{name}` | {_kind(field.annotation)} | {'needed' if needed else default} | {about} |")
    return "\n".join([" ".join((model.__doc__ or "").split()), "", *rows, ""])


def _value(default: Any) -> str:
    if isinstance(default, BaseModel) or default in ((), {}):
        return ""
    return f"`{json.dumps(default)}`"


def _kind(annotation: Any) -> str:
    """A type as a reader of TOML says it."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _kind(inner[0])
    if origin is Literal:
        return ", ".join(f"`{word}`" for word in inner)
    if origin in (Union, UnionType):
        return " or ".join(_kind(part) for part in inner if part is not type(None))
    if origin is tuple:
        return f"list of {_kind(inner[0])}"
    if origin is dict:
        return f"table of {_kind(inner[1])}"
    plain = {str: "text", int: "whole number", float: "number", bool: "true or false"}
    return plain.get(annotation, "anything" if annotation is Any else "table")
