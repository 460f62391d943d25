"""Naming one expert: `ExpertRef`, which prints and parses as `L12E3` (routed) or `L12S0` (shared)."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.errors import WorkbenchError
from workbench.paths import given_path

if TYPE_CHECKING:
    from workbench.anatomy import Anatomy

_REF = re.compile(r"L(\d+)([ES])(\d+)")
_MOST = 65536  # experts in one range: a slip of the finger must not fill the memory
_RANGE = re.compile(r"L(\*|\d+)([ES])(\*|\d+)(?:-(\d+))?")


@dataclass(frozen=True, order=True, slots=True)
class ExpertRef:
    """One expert of one decoder layer.

    `layer` is the decoder-layer index in the transformers model (dense layers keep their numbers); `expert` is the
    index on the router-logits axis, or the index among the layer's shared experts when `is_shared`. An expert out of a
    ranking carries the `fingerprint` of the model that was ranked, in whatever collection it is put, so that a plan of it
    is refused on another model; it is no part of which expert it is: equality, order, hash and text do not know it.
    """

    layer: int
    expert: int
    is_shared: bool = False
    fingerprint: str | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if self.layer < 0 or self.expert < 0:
            raise WorkbenchError(f"An expert has no negative numbers: layer {self.layer}, expert {self.expert}.")

    def __str__(self) -> str:
        return f"L{self.layer}{'S' if self.is_shared else 'E'}{self.expert}"

    __repr__ = __str__

    @classmethod
    def parse(cls, text: str) -> "ExpertRef":
        """`L12E3` or `L12S0`, upper or lower case. Raises `WorkbenchError` on anything else."""
        match = _REF.fullmatch(text.strip().upper())
        if match is None:
            raise WorkbenchError(f"'{text}' is not an expert; write it like L12E3, or L12S0 for a shared expert.")
        return cls(int(match[1]), int(match[3]), match[2] == "S")


def as_ref(value: "ExpertRef | str | tuple[int, int]") -> ExpertRef:
    """An `ExpertRef` from itself, from `'L12E3'` or from `(12, 3)`."""
    if isinstance(value, ExpertRef):
        return value
    if isinstance(value, str):
        return ExpertRef.parse(value)
    return ExpertRef(*value)


def parse_experts(text: str, anatomy: "Anatomy | None" = None) -> tuple[ExpertRef, ...]:
    """Experts from `L12E3`, `L12E3-7`, `L*E3`, `L2E*`, `@plan.json`, or several joined by commas; sorted, unique.

    `*` needs `anatomy`: it stands for every MoE layer, or every expert of the layer. With `anatomy` each expert is
    checked to exist. Raises `WorkbenchError` naming the part that does not parse.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts:
        raise WorkbenchError("No expert was named; write experts like L12E3, L12E3-7 or L*E3.")
    refs = sorted({ref for part in parts for ref in _expand(part, anatomy)})
    if anatomy is not None:
        for ref in refs:
            anatomy.check_ref(ref)
    return tuple(refs)


def _expand(part: str, anatomy: "Anatomy | None") -> Iterable[ExpertRef]:
    if part.startswith("@"):
        return _experts_of_plan_file(given_path(part[1:]))
    match = _RANGE.fullmatch(part.upper())
    if match is None:
        raise WorkbenchError(f"'{part}' names no expert; write L12E3, L12E3-7, L*E3, L12S0 or @plan.json.")
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


def _numbers(
    part: str, layer: int, kind: str, first: str, last: str | None, anatomy: "Anatomy | None"
) -> Iterable[int]:
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
        edits = json.loads(path.read_text(encoding="utf-8"))["edits"]
        return [ExpertRef.parse(str(edit["expert"])) for edit in edits]
    except (LookupError, TypeError, json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise WorkbenchError(
            f"'{path}' is not a plan file ({error}); it should be JSON with a list 'edits'."
        ) from error
