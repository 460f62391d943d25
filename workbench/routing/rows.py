"""One muted expert for each row of a batch: many interventions that one forward answers."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from workbench.anatomy import Anatomy, ExpertRef
from workbench.plan import Plan
from workbench.routing.compiled import CompiledPlan, LayerEdits
from workbench.routing.positions import Positions


@dataclass
class RowMutes(LayerEdits):
    """Mutes of one layer that hold in one row of the batch."""

    row: int = 0

    @cached_property
    def is_scoped(self) -> bool:
        """Always: other rows are left alone."""
        return True

    def mask(self, kind: str, device: torch.device, positions: Positions | None) -> Tensor | None:
        """Which experts `kind` touches, bool [tokens, experts]."""
        found = super().mask(kind, device, positions)
        if found is None:
            return None
        assert positions is not None
        here = torch.arange(positions.batch, device=device) == self.row
        return found & here.repeat_interleave(positions.length)[:, None]


def muted_in_rows(rows: Mapping[int, ExpertRef], anatomy: Anatomy) -> CompiledPlan:
    """A batch in which each of these rows mutes its routed expert, each of another layer; the other rows mute nothing."""
    plans = {row: Plan.mute([ref]) for row, ref in rows.items()}
    for plan in plans.values():
        plan.check(anatomy)
    edits: dict[int, LayerEdits] = {
        ref.layer: RowMutes(plans[row].edits, anatomy.layer(ref.layer).n_experts, {}, row=row)
        for row, ref in rows.items()
    }
    assert len(edits) == len(rows)
    return CompiledPlan(Plan(tuple(e for plan in plans.values() for e in plan.edits)), edits, {})
