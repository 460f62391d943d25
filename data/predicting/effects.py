"""What switching off every single expert does to every behaviour of a model: the table that scores are held against."""

from __future__ import annotations

from typing import Any

import pandas as pd
from grading.scored import Sheet, score

from workbench import Plan
from workbench.model import MoEModel


def single_effects(model: MoEModel, given: Sheet) -> pd.DataFrame:
    """A row for every routed expert (layer, expert) and a column for every rate: its change in points with the expert off."""
    before = score(model, given, Plan())
    rows: list[dict[str, Any]] = []
    for ref in model.anatomy.refs():
        after = score(model, given, Plan.off([ref]))
        rows.append(
            {"layer": ref.layer, "expert": ref.expert, **{k: round(v - before[k], 2) for k, v in after.items()}}
        )
    return pd.DataFrame(rows)
