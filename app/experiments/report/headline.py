"""The plan that a report begins with, and everything that was measured under it: the first claim's, with its neighbours.

Beside it stand the plans that differ from it in the number of experts (else in strength) alone.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ..recipe import Recipe, called, metrics_of, role_of, spelt_out, unit_of
from .facts import ClaimFacts, Tables, along, axis_label

WITHIN = 0.05
"""A share that moved by at most 5 points is called unmoved."""


class Check(NamedTuple):
    """One metric on one prompt set: `levels` and `draws` (of every random draw) by plan of the headline."""

    name: str
    words: str
    prompts: str
    metric: str
    role: str
    n: int
    base: float
    levels: tuple[float, ...]
    draws: tuple[tuple[float, ...], ...]

    @property
    def is_share(self) -> bool:
        """Whether it lies between 0 and 1."""
        return unit_of(self.metric).factor != 1

    def moved(self, plan: int) -> bool:
        """Whether a share moved by more than 5 points under a plan."""
        return self.is_share and abs(self.levels[plan] - self.base) > WITHIN + 1e-9


class Dose(NamedTuple):
    """What a plan really changed over all measured prompts; `draws`: slots that random draws changed that were measured on all
    of them as well.
    """

    tokens_changed: int
    tokens: int
    slots_changed: int
    slots: int
    draws: tuple[int, ...]


class Headline(NamedTuple):
    """One model's. `arms` are rows of the table `arms`, `labels` the value of the axis in each; `chosen` is the claim's."""

    model: str
    axis: str
    labels: tuple[str, ...]
    arms: tuple[dict[str, Any], ...]
    chosen: int
    checks: tuple[Check, ...]
    doses: tuple[Dose, ...]

    @property
    def arm(self) -> dict[str, Any]:
        """The claim's plan, a row of `arms`."""
        return self.arms[self.chosen]

    def others(self) -> list[Check]:
        """The shares that should stay."""
        return [check for check in self.checks if check.role == "capability" and check.is_share]


def headlines(recipe: Recipe, facts: Sequence[ClaimFacts], tables: Tables) -> list[Headline]:
    """One for each model: of the first claim that could be measured there."""
    first: dict[str, ClaimFacts] = {}
    for fact in facts:
        if fact.plan is not None:
            first.setdefault(str(fact.row["model"]), fact)
    return [_headline(recipe, fact.arm, tables) for fact in first.values() if fact.arm is not None]


def _headline(recipe: Recipe, arm: dict[str, Any], tables: Tables) -> Headline:
    effects: Any = tables["effects"][tables["effects"]["model"] == arm["model"]]
    of_model: Any = tables["arms"][tables["arms"]["model"] == arm["model"]]
    rows = [row for row in of_model.to_dict("records") if row["arm"] in set(effects["arm"])]
    grids = {axis: along(rows, arm, axis) for axis in ("n", "value")}
    axis = next((a for a, found in grids.items() if len(found) > 1), "n")
    arms = grids[axis] or [arm]
    drawn = [[r["arm"] for r in rows if r["kind"] == "random" and r["of"] == a["arm"]] for a in arms]
    return Headline(
        arm["model"],
        axis_label(arm, axis),
        tuple(str(a[axis]) for a in arms),
        tuple(arms),
        [a["arm"] for a in arms].index(arm["arm"]),
        tuple(_checks(recipe, [a["arm"] for a in arms], drawn, effects)),
        tuple(_dose(a["arm"], names, arm["model"], tables) for a, names in zip(arms, drawn, strict=True)),
    )


def _checks(recipe: Recipe, arms: Sequence[str], drawn: Sequence[Sequence[str]], effects: Any) -> list[Check]:
    by_key = {(e["prompts"], e["metric"], e["arm"]): e for e in effects.to_dict("records")}
    found: list[Check] = []
    for prompts, spec in recipe.measured().items():
        for metric in metrics_of(recipe, prompts):
            rows = [by_key.get((prompts, metric, arm)) for arm in arms]
            if spec.role != "choosing" and all(rows):
                draws = [tuple(_levels(by_key, prompts, metric, names)) for names in drawn]
                found.append(_check(recipe, prompts, metric, [r for r in rows if r], draws))
    return sorted(found, key=lambda check: check.role != "target")


def _check(recipe: Recipe, prompts: str, metric: str, rows: Sequence[Mapping[str, Any]], draws: Any) -> Check:
    return Check(
        called(prompts, metric),
        spelt_out(recipe, metric).words,
        prompts,
        metric,
        role_of(recipe, prompts, metric),
        int(rows[0]["n"]),
        float(rows[0]["base"]),
        tuple(float(row["steered"]) for row in rows),
        tuple(draws),
    )


def _levels(by_key: Mapping[Any, Any], prompts: str, metric: str, arms: Sequence[str]) -> list[float]:
    found = [by_key[prompts, metric, arm]["steered"] for arm in arms if (prompts, metric, arm) in by_key]
    return [float(level) for level in found if level == level]


def _dose(arm: str, drawn: Sequence[str], model: str, tables: Tables) -> Dose:
    doses: Any = tables["doses"][tables["doses"]["model"] == model]
    held: Any = doses[doses["prompts"].isin(_held_out(tables))]
    summed = dict(list(held.groupby("arm")))
    if arm not in summed:
        return Dose(0, 0, 0, 0, ())
    mine = summed[arm]
    others = [summed[d] for d in drawn if d in summed and set(summed[d]["prompts"]) == set(mine["prompts"])]
    numbers = {name: int(mine[name].sum()) for name in ("tokens_changed", "tokens", "slots_changed", "slots")}
    return Dose(**numbers, draws=tuple(int(rows["slots_changed"].sum()) for rows in others))


def _held_out(tables: Tables) -> set[str]:
    effects: Any = tables["effects"]
    return set(effects[effects["role"] != "choosing"]["prompts"])
