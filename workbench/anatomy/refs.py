"""Naming one expert: `ExpertRef`, which prints and parses as `L12E3` (routed) or `L12S0` (shared)."""

import re
from dataclasses import dataclass, field
from operator import index

from workbench.errors import WorkbenchError

_REF = re.compile(r"L(\d{1,9})([ES])(\d{1,9})", re.ASCII)


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
    try:
        layer, expert = map(index, value)
    except (TypeError, ValueError) as error:
        raise WorkbenchError(f"{value!r:.60} is not an expert; write it like 'L12E3' or (12, 3).") from error
    return ExpertRef(layer, expert)
