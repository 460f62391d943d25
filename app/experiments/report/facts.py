"""What a report says about one claim on one model, gathered out of a run's tables: plain frozen values for words and figures."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import pandas as pd

from ..recipe import Claim, Recipe
from ..tables import arm_of, at_least, paper_change
from .labels import MATCHES, arm_label, edit_label, given

Tables = Mapping[str, pd.DataFrame]


class Measured(NamedTuple):
    """One arm's effect on the claim's metric; numbers in the metric's own unit, NaN where there is none."""

    label: str
    plan: str
    base: float
    steered: float
    difference: float
    low: float
    high: float


class Draws(NamedTuple):
    """The random draws of one kind."""

    label: str
    found: tuple[Measured, ...]


class Grid(NamedTuple):
    """The claim's plan with one thing varied: experts or strength. `points`: its value, the arm, its random draws."""

    axis: str
    points: tuple[tuple[str, Measured, tuple[Measured, ...]], ...]
    chosen: int
    """Which point is the claim's own."""


class ClaimFacts(NamedTuple):
    """Everything about one claim on one model. `plan` is None where it was not run or not measured."""

    claim: Claim
    row: dict[str, Any]
    arm: dict[str, Any] | None
    effect: dict[str, Any]
    plan: Measured | None
    draws: tuple[Draws, ...]
    bottom: Measured | None
    grids: tuple[Grid, ...]
    paper_change: float | None
    at_least: float | None
    dose: dict[str, Any] | None


def claim_facts(recipe: Recipe, tables: Tables) -> list[ClaimFacts]:
    """One for every row of the table `claims`, in the recipe's order."""
    by_name = {claim.name: claim for claim in recipe.claims}
    order = {name: i for i, name in enumerate(by_name)}
    rows: list[Any] = tables["claims"].to_dict("records")
    return [
        facts_of(recipe, by_name[r["name"]], r, tables)
        for r in sorted(rows, key=lambda r: (order[r["name"]], r["model"]))
    ]


def facts_of(recipe: Recipe, claim: Claim, row: dict[str, Any], tables: Tables) -> ClaimFacts:
    """What was measured of a claim; `row` holds the model and its base."""
    arms: Any = tables["arms"][tables["arms"]["model"] == row["model"]]
    measured = _measured_on(tables["effects"], row["model"], claim)
    found, base = arm_of(recipe, claim, arms), float(row["base"])
    needed = None if claim.direction == "none" else at_least(claim, base)
    nothing = ClaimFacts(claim, row, None, {}, None, (), None, (), paper_change(claim, base), needed, None)
    if found is None:
        return nothing
    arm = {str(name): value for name, value in found.items()}
    if arm["arm"] not in measured:
        return nothing._replace(arm=arm)
    here = _Arms([a for a in arms.to_dict("records") if a["arm"] in measured], measured)
    ends = [here.measured(a) for a in here.rows if a["kind"] == "bottom" and a["of"] == arm["arm"]]
    return nothing._replace(
        arm=arm,
        effect=measured[arm["arm"]],
        plan=here.measured(arm),
        draws=here.draws(arm),
        bottom=ends[0] if ends else None,
        grids=tuple(grid for axis in ("n", "value") if (grid := here.grid(arm, axis))),
        dose=_dose(tables["doses"], row["model"], arm["arm"], claim.prompts),
    )


def _measured_on(effects: Any, model: str, claim: Claim) -> dict[str, dict[str, Any]]:
    """By arm: the effect on the claim's prompts and metric."""
    here = effects[
        (effects["model"] == model) & (effects["prompts"] == claim.prompts) & (effects["metric"] == claim.metric)
    ]
    return {row["arm"]: row for row in here.to_dict("records")}


class _Arms(NamedTuple):
    """The arms of one model that a claim's metric was measured for, with their effects by arm."""

    rows: list[dict[str, Any]]
    effects: Mapping[str, dict[str, Any]]

    def measured(self, arm: Mapping[str, Any]) -> Measured:
        numbers = (float(self.effects[arm["arm"]][name]) for name in Measured._fields[2:])
        return Measured(arm_label(arm), str(arm["plan"]), *numbers)

    def draws(self, arm: Mapping[str, Any]) -> tuple[Draws, ...]:
        drawn = [a for a in self.rows if a["kind"] == "random" and a["of"] == arm["arm"]]
        kinds = ((label, [a for a in drawn if a["match"] == match]) for match, label in MATCHES.items())
        return tuple(Draws(label, tuple(map(self.measured, of_kind))) for label, of_kind in kinds if of_kind)

    def grid(self, arm: Mapping[str, Any], axis: str) -> Grid | None:
        """The arms that differ from this one in `axis` alone; None where there is only one."""
        rows = along(self.rows, arm, axis)
        if len(rows) < 2:
            return None
        points = [(str(a[axis]), self.measured(a), tuple(m for d in self.draws(a) for m in d.found)) for a in rows]
        return Grid(axis_label(arm, axis), tuple(points), [a["arm"] for a in rows].index(arm["arm"]))


def along(arms: Iterable[dict[str, Any]], arm: Mapping[str, Any], axis: str) -> list[dict[str, Any]]:
    """The arms that differ from this one in `axis` (n or value) alone, itself included, in its order."""
    others = [c for c in ("kind", "ranking", "end", "edit", "value", "phase", "n", "name") if c != axis]
    rows = [a for a in arms if given(a[axis]) and all(_alike(a[c], arm[c]) for c in others)]
    return sorted(rows, key=lambda a: _as_number(a[axis]))


def axis_label(arm: Mapping[str, Any], axis: str) -> str:
    """What varies along a grid, in words."""
    return "experts" if axis == "n" else f"strength of {edit_label(arm).split()[0]}"


def _alike(a: Any, b: Any) -> bool:
    return (not given(a) and not given(b)) or (given(a) and given(b) and bool(a == b))


def _as_number(value: Any) -> float:
    try:
        return float(value)
    except ValueError:
        return float("inf")


def _dose(doses: Any, model: str, arm: str, prompts: str) -> dict[str, Any] | None:
    found = doses[(doses["model"] == model) & (doses["arm"] == arm) & (doses["prompts"] == prompts)]
    return None if found.empty else {str(k): v for k, v in found.iloc[0].items()}
