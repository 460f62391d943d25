"""What the terminal shows of a finished run, as tables of text: the headline's plan and its neighbours, and what else moved."""

from collections.abc import Sequence
from typing import NamedTuple

from ..recipe import Recipe, level
from .facts import Tables, claim_facts
from .headline import Check, Headline, headlines
from .labels import arm_label
from .opening import spread

TARGETS = 2
"""So many of the headline's targets have a column."""


class Printed(NamedTuple):
    """A table for the terminal; the columns in `right` are numbers."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: tuple[str, ...]


class Summary(NamedTuple):
    """What is shown of one model: the tables, and the arm of the headline's plan."""

    model: str
    arm: str
    tables: tuple[Printed, ...]


def summaries(recipe: Recipe, tables: Tables) -> list[Summary]:
    """For each model targets under every plan of the headline, then every other check under the chosen one.

    `tables`: of a finished run whose claims were judged.
    """
    return [
        Summary(top.model, top.arm["arm"], tuple(t for t in (_targets(top), _others(top)) if t.rows))
        for top in headlines(recipe, claim_facts(recipe, tables), tables)
    ]


def _targets(headline: Headline) -> Printed:
    targets = ([c for c in headline.checks if c.role == "target"] or list(headline.checks))[:TARGETS]
    if not targets:
        return Printed("", (), (), ())
    names = [targets[0].name, "random draws", *(check.name for check in targets[1:])]
    doses = [f"{dose.slots_changed:,} of {dose.slots:,}" if dose.slots else "" for dose in headline.doses]
    base = ("without", "", _level(targets[0].base, targets[0]), "", *(_level(c.base, c) for c in targets[1:]), "")
    rows = [
        (label, " ".join(arm["experts"]), *_cells(targets[0], i), *(_level(c.levels[i], c) for c in targets[1:]), dose)
        for i, (label, arm, dose) in enumerate(zip(headline.labels, headline.arms, doses, strict=True))
    ]
    title = f"{headline.model}, held-out prompts: {headline.arm['edit'] or 'the plan'}, by {headline.axis}"
    return Printed(title, (headline.axis, "which", *names, "slots changed"), (base, *rows), (headline.axis,))


def _others(headline: Headline) -> Printed:
    chosen, label = headline.chosen, f"{headline.axis} {headline.labels[headline.chosen]}"
    rows = [
        (c.name, _level(c.base, c), *_cells(c, chosen), "moved" if c.moved(chosen) else "")
        for c in headline.checks
        if c.role == "capability"
    ]
    title = f"What else moved with {arm_label(headline.arm)}"
    return Printed(title, ("check", "without", label, "random draws", ""), tuple(rows), ("without", label))


def _cells(check: Check, plan: int) -> tuple[str, str]:
    draws: Sequence[float] = check.draws[plan]
    return _level(check.levels[plan], check), spread(draws, check.metric) if draws else ""


def _level(value: float, check: Check) -> str:
    return level(value, check.metric)
