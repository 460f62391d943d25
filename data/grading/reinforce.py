"""Reinforcing thinking on the bundled model: its carriers scaled, biased or off, and nPMI's first two scaled as RICE does."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from grading.measure import opened
from grading.scored import Expected, expected, score, sheet
from probes import npmi
from workbench import Plan

Json = dict[str, Any]


def _is_sum(item: Expected) -> bool:
    return "sums" in item.rate


def reinforced(folder: Path) -> Json:
    """What each plan does to sums of the ranking split, on every prompt."""
    with tempfile.TemporaryDirectory() as scratch:
        graded = opened(folder, Path(scratch))
        given = sheet(graded.model, [item for item in expected("ranking") if _is_sum(item)], each=10_000)
        rice = npmi(graded.thinking_store, tokens="all", n_permutations=0, n_bootstrap=0).top(2)
        plans: dict[str, Plan] = {"nothing": Plan(), "carriers off": Plan.off(graded.thinking_carriers)}
        plans |= {f"carriers scaled by {b}": Plan.scale(graded.thinking_carriers, b) for b in (1.5, 2.0, 4.0)}
        plans |= {f"carriers biased by {d}": Plan.bias(graded.thinking_carriers, d) for d in (1.0, 2.0)}
        plans |= {f"nPMI's first two scaled by {b}": Plan.scale(rice, b) for b in (1.5, 2.0, 4.0)}
        return {name: {"plan": str(plan), **score(graded.model, given, plan)} for name, plan in plans.items()}
