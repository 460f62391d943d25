"""What a report begins with: a few numbers in tiles, every share in a chart and a table, and on what the plan was chosen."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from ..recipe import Recipe, level, levels, said, spelt_out, unit_of
from .drawings import checks_chart
from .facts import ClaimFacts, Grid, Tables, facts_of
from .headline import Check, Headline
from .labels import arm_label

LISTED = 5
"""Up to so many random draws are told one by one, more of them as a range."""


class Tile(NamedTuple):
    """A number, large, and what it is."""

    number: str
    words: str


class Cell(NamedTuple):
    """One check under one plan: the level, what random draws did, whether it moved."""

    level: str
    random: str
    moved: bool


class Opening(NamedTuple):
    """What a report begins with on one model: tiles, the chart of every share, sentences, and the table of every check."""

    headline: Headline
    label: str
    tiles: list[Tile]
    figure: str
    moved: str
    dose: str
    rows: list[tuple[Check, str, list[Cell]]]


def opening(recipe: Recipe, headline: Headline, facts: Sequence[ClaimFacts]) -> Opening:
    """The opening on one model."""
    label = arm_label(headline.arm)
    shares = [check for check in headline.checks if check.is_share]
    return Opening(
        headline,
        label,
        tiles(recipe, headline, facts),
        checks_chart(shares, headline.chosen, f"Every share without and with {label}, {headline.model}"),
        what_moved(headline),
        dose(headline),
        [(check, level(check.base, check.metric), _cells(check)) for check in headline.checks],
    )


def _cells(check: Check) -> list[Cell]:
    return [
        Cell(level(value, check.metric), spread(draws, check.metric) if draws else "", check.moved(i))
        for i, (value, draws) in enumerate(zip(check.levels, check.draws, strict=True))
    ]


def tiles(recipe: Recipe, headline: Headline, facts: Sequence[ClaimFacts]) -> list[Tile]:
    """The first two claims about the headline's plan, the first one's random draws, and how many other checks held."""
    about = [f for f in facts if f.plan is not None and f.arm is not None and f.row["model"] == headline.model]
    same = [f for f in about if f.arm is not None and f.arm["arm"] == headline.arm["arm"]][:2]
    found = [_claimed(recipe, fact) for fact in same]
    draws = [m.steered for kind in same[0].draws for m in kind.found if m.steered == m.steered]
    if draws:
        words = f"the same with as many random experts instead ({len(draws)} draw{'s' if len(draws) > 1 else ''})"
        found.insert(1, Tile(spread(draws, same[0].claim.metric), words))
    others = headline.others()
    if others:
        held = sum(not check.moved(headline.chosen) for check in others)
        found.append(Tile(f"{held} of {len(others)}", "other checks moved by at most 5 points"))
    return found


def _claimed(recipe: Recipe, fact: ClaimFacts) -> Tile:
    plan, metric = fact.plan, fact.claim.metric
    if plan is None or fact.arm is None:
        raise ValueError("a tile is about a claim that was measured")
    words = spelt_out(recipe, metric).words or f"{said(metric)} on {fact.claim.prompts}"
    numbers = levels(plan.base, plan.steered, metric).replace(" to ", "\u00a0→\u00a0")
    return Tile(numbers, f"{words}: of {int(fact.effect['n'])} held-out prompts, under the plan {arm_label(fact.arm)}")


def spread(values: Sequence[float], metric: str) -> str:
    """Levels of random draws, the unit once: each where they are few, else from the smallest to the largest."""
    shown = list(values) if len(values) <= LISTED else [min(values), max(values)]
    unit = level(shown[-1], metric).split("\u00a0")[-1]
    numbers = [_rounded(value, metric) for value in shown]
    return f"{(', ' if len(values) <= LISTED else ' to ').join(numbers)}\u00a0{unit}"


def _rounded(value: float, metric: str) -> str:
    """A share as a whole percentage, anything else as it is."""
    return f"{100 * value:.0f}" if unit_of(metric).factor != 1 else level(value, metric).split("\u00a0")[0]


def chosen_how(recipe: Recipe, tables: Tables) -> list[str]:
    """For each model, on what the claimed plan was chosen, when, and what every candidate did there."""
    how = recipe.choice
    if how is None:
        return []
    claim = next(c for c in recipe.claims if c.name == how.claim).model_copy(
        update={"prompts": how.prompts, "metric": how.metric}
    )
    models = list(dict.fromkeys(tables["arms"]["model"]))
    facts = [facts_of(recipe, claim, {"model": model, "base": float("nan")}, tables) for model in models]
    several = f"{len(models)} models" if len(models) > 1 else ""
    return [_choice(recipe, fact, several and str(fact.row["model"])) for fact in facts if fact.plan is not None]


def _choice(recipe: Recipe, fact: ClaimFacts, model: str) -> str:
    how, arm, plan = recipe.choice, fact.arm, fact.plan
    if how is None or arm is None or plan is None:
        raise ValueError("there is no choice to tell of")
    on = recipe.prompts[how.prompts].source
    text = f"{model + ': ' if model else ''}The plan ({arm_label(arm)}) was chosen{' ' + how.when if how.when else ''} on {on}, "
    text += f"on which no claim is measured. {said(how.metric).capitalize()} there: {level(plan.base, how.metric)} without a plan"
    grid: Grid | None = fact.grids[0] if fact.grids else None
    points: list[Any] = [(name, found) for name, found, _ in grid.points] if grid else [("the plan", plan)]
    told = [f"{level(found.steered, how.metric)} with {name}" for name, found in points]
    return f"{text}, {', '.join(told)}{f' {grid.axis}' if grid else ''}."


def dose(headline: Headline) -> str:
    """What the plan and its random draws really changed over all held-out prompts."""
    found = headline.doses[headline.chosen]
    text = f"{arm_label(headline.arm)}: {found.tokens_changed:,} of {found.tokens:,} tokens and {found.slots_changed:,} of "
    text += f"{found.slots:,} expert slots were really changed over all held-out prompts"
    draws = [f"{n:,}" for n in found.draws]
    told = ", ".join(draws) if len(draws) <= LISTED else f"{min(found.draws):,} to {max(found.draws):,}"
    return f"{text}; random draws changed {told} slots." if draws else f"{text}."


def what_moved(headline: Headline) -> str:
    """Which other shares stayed within 5 points under the headline's plan, and which did not, with their levels."""
    others = headline.others()
    parts = [
        f"{words}: {', '.join(_levels(c, headline.chosen) for c in some)}."
        for words, some in (
            ("Moved by at most 5 points", [c for c in others if not c.moved(headline.chosen)]),
            ("Moved by more", [c for c in others if c.moved(headline.chosen)]),
        )
        if some
    ]
    return " ".join(parts)


def _levels(check: Check, plan: int) -> str:
    return f"{check.name} ({levels(check.base, check.levels[plan], check.metric)})"
