"""How many parameters a plan would free, were its experts removed from the model: counted, nothing is removed."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from workbench import Plan, WorkbenchError

from ..recipe import Cell, Recipe, cells
from .least import LEAST

if TYPE_CHECKING:
    from workbench import MoEModel

REMOVING = ("off", "drop", "mute")
"""Edits under which an expert adds nothing, so that it could go. After drop and mute the router would have to go on naming it."""


@dataclass(frozen=True)
class Sizes:
    """Parameters of a routed expert by layer, and of the whole model; both without what is tied or shared twice."""

    of_expert: Mapping[int, int]
    model: int

    @classmethod
    def of(cls, model: "MoEModel") -> "Sizes | None":
        """A model's; None where its experts' weights are not in this process, or lie in a form of their own."""
        from workbench.survey import expert_parameters, parameters

        if model.local is None:
            return None
        try:
            return cls(expert_parameters(model.local), parameters(model.local))
        except WorkbenchError:
            return None

    @classmethod
    def from_dict(cls, data: Mapping[str, Any] | None) -> "Sizes | None":
        """The inverse of `to_dict`; layers are text in JSON."""
        if not data:
            return None
        return cls({int(layer): n for layer, n in data["of_expert"].items()}, data["model"])

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)

    def freed_by(self, plan: Plan) -> dict[str, Any] | None:
        """What the plan would free; None where it keeps an expert (force, scale, bias, replace) or holds only for some tokens."""
        if not plan or any(
            e.kind not in REMOVING or not e.scope.is_everywhere or e.expert.is_shared for e in plan.edits
        ):
            return None
        parameters = sum(self.of_expert.get(expert.layer, 0) for expert in plan.experts)
        return {"experts": len(plan.experts), "parameters": parameters, "share": round(parameters / self.model, 6)}

    def planned(self, recipe: Recipe) -> dict[str, dict[str, int]]:
        """By arm, of the recipe's plans that remove: experts, and parameters at least and at most, before rankings say which."""
        removing = [c for c in cells(recipe) if c.parts and c.phase == "all" and c.span is None and _removes(c)]
        return {cell.arm: self._bounds(cell) for cell in removing}

    def _bounds(self, cell: Cell) -> dict[str, int]:
        n, sizes = cell.n or 0, sorted(self.of_expert.values())
        if all(part.end == LEAST[1] for part in cell.parts) and sizes:
            low = high = n // len(sizes) * sum(sizes)
        else:  # which layers they are in, the ranking will say
            low, high = (n * end for end in (sizes[0], sizes[-1])) if sizes else (0, 0)
        return {"experts": n, "at_least": low, "at_most": high}


def _removes(cell: Cell) -> bool:
    return all(part.edit in REMOVING for part in cell.parts)
