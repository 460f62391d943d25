"""The experts of a report: every ranking as a map and as bars, or by largest outputs, and which of them training tuned."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from probes.catalogue import ranker
from probes.ranking import SUPER_EXPERT

from ..recipe import Recipe
from .drawings import expert_map, largest_outputs, ranking_bars
from .effect_tables import Block, claimed_arms
from .expert_tables import ranking_table
from .facts import ClaimFacts, Tables
from .labels import arm_label

BARS = 10
EXTREME = "largest |output|"
"""The unit of scores that are drawn beside the residual stream."""
Tuned = Mapping[str, Sequence[str]]


class Ranked(NamedTuple):
    """One ranking of one model.

    drawn  the figures: largest outputs where it `is_extremes`, else a map and bars
    words  what they show, in sentences
    tuned  behaviours whose experts are known
    table  the first experts
    """

    drawn: tuple[str, ...]
    words: str
    is_extremes: bool
    is_marked: bool
    tuned: tuple[str, ...]
    table: Block


def rankings(recipe: Recipe, tables: Tables, facts: Sequence[ClaimFacts], tuned: Mapping[str, Tuned]) -> list[Ranked]:
    """Every ranking. tuned: by model, experts that are known to carry a behaviour, by behaviour."""
    groups: list[tuple[Any, Any]] = list(tables["scores"].groupby(["model", "ranking"], sort=False))
    return [
        _ranked(recipe, tables, key, part.sort_values("rank"), facts, tuned.get(key[0], {})) for key, part in groups
    ]


def _ranked(recipe: Recipe, tables: Tables, key: Any, part: Any, facts: Sequence[ClaimFacts], tuned: Tuned) -> Ranked:
    model, name = key
    of = next((r for r in recipe.rankings if r.name == name), None)
    about = ranker(of.method) if of else None
    unit = f"{about.score}, {about.unit}" if about else "score"
    table, rows = ranking_table(of, key, part, tuned), part.to_dict("records")
    plans = [a for a in claimed_arms(facts) if a["model"] == model and a["ranking"] == name]
    if about is not None and about.unit == EXTREME:
        residual = _residual(tables, model, of.prompts if of else "")
        drawn = largest_outputs(rows, residual, f"Largest outputs of experts by layer, {model}")
        n = sum(SUPER_EXPERT in (row["flags"] or "").split("; ") for row in rows)
        words = f"{n} of {len(rows)} experts {'is' if n == 1 else 'are'} flagged as super experts."
        return Ranked((drawn,) if drawn else (), words, True, False, (), table)
    marked = [e for a in plans for e in a["experts"]]
    drawn = (
        expert_map(rows, marked, tuned, unit, f"{name} by layer and expert, {model}"),
        ranking_bars(rows[:BARS], tuned, unit, f"First experts by {name}, {model}"),
    )
    return Ranked(
        tuple(svg for svg in drawn if svg),
        _hits(plans, tuned),
        False,
        bool(marked),
        tuple(tuned),
        table,
    )


def _hits(plans: Sequence[Mapping[str, Any]], tuned: Tuned) -> str:
    """How many of each plan's experts are among those that training tuned; plans of the same experts are told once."""
    first: dict[tuple[str, ...], Mapping[str, Any]] = {}
    for arm in plans if tuned else ():
        first.setdefault(tuple(arm["experts"]), arm)
    return " ".join(f"Of the experts of {arm_label(arm)}: {_among(experts, tuned)}." for experts, arm in first.items())


def _among(experts: Sequence[str], tuned: Tuned) -> str:
    return "; ".join(
        f"{sum(e in names for e in experts)} of {len(experts)} among the {len(names)} that training tuned for {kind} "
        f"({', '.join(names)})"
        for kind, names in tuned.items()
    )


def _residual(tables: Tables, model: str, prompts: str) -> dict[int, float]:
    found: Any = tables.get("residuals")
    if found is None:
        return {}
    here = found[(found["model"] == model) & (found["prompts"] == prompts)]
    return {int(row["layer"]): float(row["largest"]) for row in here.to_dict("records")}
