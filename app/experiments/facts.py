"""What a report says about one claim on one model, gathered out of a run's tables: plain frozen values for words and figures."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from .claims import arm_of, at_least, draws_of, paper_change
from .labels import MATCHES, arm_label, edit_label, given

if TYPE_CHECKING:
    from .recipe import Recipe
    from .sections import Claim

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

    claim: "Claim"
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


def claim_facts(recipe: "Recipe", tables: Tables) -> list[ClaimFacts]:
    """One for every row of the table `claims`, in the recipe's order."""
    by_name = {claim.name: claim for claim in recipe.claims}
    order = {name: i for i, name in enumerate(by_name)}
    rows: list[Any] = tables["claims"].to_dict("records")
    return [
        _facts(recipe, by_name[r["name"]], r, tables)
        for r in sorted(rows, key=lambda r: (order[r["name"]], r["model"]))
    ]


def _facts(recipe: "Recipe", claim: "Claim", row: dict[str, Any], tables: Tables) -> ClaimFacts:
    arms: Any = tables["arms"][tables["arms"]["model"] == row["model"]]
    measured = _measured_on(tables["effects"], row["model"], claim)
    arm: Any = arm_of(recipe, claim, arms)
    base = float(row["base"])
    needed = None if claim.direction == "none" else at_least(claim, base)
    nothing = ClaimFacts(claim, row, None, {}, None, (), None, (), paper_change(claim, base), needed, None)
    if arm is None or arm["arm"] not in measured:
        return nothing if arm is None else nothing._replace(arm=arm.to_dict())
    bottom: Any = arms[(arms["kind"] == "bottom") & (arms["of"] == arm["arm"])]
    ends = [_measured(b, measured) for _, b in bottom.iterrows() if b["arm"] in measured]
    return nothing._replace(
        arm=arm.to_dict(),
        effect=measured[arm["arm"]],
        plan=_measured(arm, measured),
        draws=_draws(arm, arms, measured),
        bottom=ends[0] if ends else None,
        grids=tuple(grid for axis in ("n", "value") if (grid := _grid(arm, arms, measured, axis))),
        dose=_dose(tables["doses"], row["model"], arm["arm"], claim.prompts),
    )


def _measured_on(effects: Any, model: str, claim: "Claim") -> dict[str, dict[str, Any]]:
    """By arm: the effect on the claim's prompts and metric."""
    here = effects[
        (effects["model"] == model) & (effects["prompts"] == claim.prompts) & (effects["metric"] == claim.metric)
    ]
    return {row["arm"]: row for row in here.to_dict("records")}


def _measured(arm: Any, measured: Mapping[str, dict[str, Any]]) -> Measured:
    numbers = (float(measured[arm["arm"]][name]) for name in Measured._fields[2:])
    return Measured(arm_label(arm), str(arm["plan"]), *numbers)


def _draws(arm: Any, arms: Any, measured: Mapping[str, dict[str, Any]]) -> tuple[Draws, ...]:
    drawn = draws_of(arm["arm"], arms)
    found = [
        Draws(label, tuple(_measured(d, measured) for _, d in drawn[drawn["match"] == match].iterrows() if d["arm"] in measured))
        for match, label in MATCHES.items()
    ]  # fmt: skip
    return tuple(draws for draws in found if draws.found)


def _grid(arm: Any, arms: Any, measured: Mapping[str, dict[str, Any]], axis: str) -> Grid | None:
    """The arms that differ from the claim's in `axis` alone; None where there is only one."""
    others = [c for c in ("ranking", "end", "edit", "value", "phase", "n", "name") if c != axis]
    same: Any = arms[arms["kind"] == arm["kind"]]
    for column in others:
        same = same[[a == arm[column] or not (given(a) or given(arm[column])) for a in same[column]]]
    rows = [row for _, row in same.iterrows() if row["arm"] in measured and given(row[axis])]
    rows = sorted(rows, key=lambda row: _as_number(row[axis]))
    if len(rows) < 2:
        return None
    points = tuple(
        (f"{row[axis]}", _measured(row, measured), tuple(m for d in _draws(row, arms, measured) for m in d.found))
        for row in rows
    )
    said = "experts" if axis == "n" else f"strength of {edit_label(arm).split()[0]}"
    return Grid(said, points, [row["arm"] for row in rows].index(arm["arm"]))


def _as_number(value: Any) -> float:
    try:
        return float(value)
    except ValueError:
        return float("inf")


def _dose(doses: Any, model: str, arm: str, prompts: str) -> dict[str, Any] | None:
    found = doses[(doses["model"] == model) & (doses["arm"] == arm) & (doses["prompts"] == prompts)]
    return None if found.empty else {str(k): v for k, v in found.iloc[0].items()}
