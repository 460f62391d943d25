"""Experts named in one line of text, as people type them: `L12E3-7,L*E0`, `L2E*`, `@plan.json`."""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from workbench.anatomy.anatomy import Anatomy
from workbench.anatomy.refs import ExpertRef
from workbench.errors import WorkbenchError
from workbench.paths import given_path

_MOST = 65536  # experts in one range: a slip of the finger must not fill the memory
_RANGE = re.compile(r"L(\*|\d{1,9})([ES])(\*|\d{1,9})(?:-(\d{1,18}))?", re.ASCII)


def parse_experts(
    text: str, anatomy: Anatomy | None = None, *, files: bool = True, most: int | None = None
) -> tuple[ExpertRef, ...]:
    """Experts from `L12E3`, `L12E3-7`, `L*E3`, `L2E*`, `@plan.json`, or several joined by commas; sorted, unique.

    `*` needs `anatomy`: it stands for every MoE layer, or every expert of the layer. With `anatomy` each expert is
    checked to exist. files: whether `@plan.json` may be opened; most: so many experts may be named, repetitions included.
    Raises `WorkbenchError` naming the part that does not parse.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts:
        raise WorkbenchError("No expert was named; write experts like L12E3, L12E3-7 or L*E3.")
    refs = sorted(_all(parts, anatomy, files, most))
    if anatomy is not None:
        anatomy.check_refs(refs)
    return tuple(refs)


def _all(parts: Sequence[str], anatomy: Anatomy | None, files: bool, most: int | None) -> set[ExpertRef]:
    found, n = set[ExpertRef](), 0
    for part in parts:
        if part.startswith("@") and not files:
            raise WorkbenchError(
                f"'{part:.80}' names a file, and no file is opened for a plan that was sent; write its experts, like L12E3."
            )
        refs = list(_expand(part, anatomy))
        n += len(refs)
        if most is not None and n > most:
            raise WorkbenchError("This names more edits than a plan that is sent may have; make it smaller.")
        found.update(refs)
    return found


def _expand(part: str, anatomy: Anatomy | None) -> Iterable[ExpertRef]:
    if part.startswith("@"):
        return _experts_of_plan_file(given_path(part[1:]))
    match = _RANGE.fullmatch(part.upper())
    if match is None:
        raise WorkbenchError(f"'{part:.80}' names no expert; write L12E3, L12E3-7, L*E3, L12S0 or @plan.json.")
    layer, kind, first, last = match.groups()
    if "*" in (layer, first) and anatomy is None:
        raise WorkbenchError(f"'{part}' uses *, which needs a model to say which layers and experts exist.")
    refs = [
        ExpertRef(n, e, kind == "S")
        for n in (anatomy.moe_layers if layer == "*" and anatomy else [int(layer)])
        for e in _numbers(part, n, kind, first, last, anatomy)
    ]
    if not refs and anatomy is not None:
        raise WorkbenchError(f"'{part}' names no expert: {anatomy.model} has none there.")
    return refs


def _numbers(part: str, layer: int, kind: str, first: str, last: str | None, anatomy: Anatomy | None) -> Iterable[int]:
    if first == "*" and anatomy is not None:
        found = anatomy.layer(layer)
        return range(found.n_shared if kind == "S" else found.n_experts)
    if last is None:
        return [int(first)]
    if int(last) < int(first):
        raise WorkbenchError(f"'{part}' counts backwards; write the smaller expert first, like L12E3-7.")
    if anatomy is not None:
        anatomy.check_ref(ExpertRef(layer, int(last), kind == "S"))
    if int(last) - int(first) >= _MOST:
        raise WorkbenchError(
            f"'{part}' names more than {_MOST} experts, and no layer has so many; write it like L12E3-7."
        )
    return range(int(first), int(last) + 1)


def _experts_of_plan_file(path: Path) -> list[ExpertRef]:
    if not path.is_file():
        raise WorkbenchError(f"There is no plan file '{path}'; save one with Plan.to_json or `workbench rank --out`.")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        refs, made_for = [ExpertRef.parse(str(edit["expert"])) for edit in data["edits"]], data.get("fingerprint")
        return [replace(ref, fingerprint=made_for if isinstance(made_for, str) else None) for ref in refs]
    except (LookupError, TypeError, AttributeError, json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise WorkbenchError(
            f"'{path}' is not a plan file ({error}); it should be JSON with a list 'edits'."
        ) from error
