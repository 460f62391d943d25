"""The work of a run in units: which arms are measured how on which prompts, what is shared, and in which file it ends up.

An answers or sinks unit is one arm. Units that compare with the bare model token by token hold several arms, so that its
forward is made once for all of them.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ..recipe import CHOICE, DIVERGENCE, NLL, SINK, Recipe, Role, cells, metrics_of, text_metrics
from .arms import Arm

TOGETHER = 16
"""Arms whose distributions are read in one unit, beside one forward of the bare model."""


class Piece(NamedTuple):
    """One arm measured in one way on one prompt set: what is planned, and what the table `units` has a row for."""

    prompts: str
    what: str
    arm: Arm


class Unit(NamedTuple):
    """Pieces that are done together, and the file of the run's folder that they are written to."""

    prompts: str
    what: str
    arms: tuple[Arm, ...]
    path: str


def kinds_of(recipe: Recipe, prompts: str, arm: Arm) -> Iterator[str]:
    """How an arm is measured on a prompt set."""
    metrics = set(metrics_of(recipe, prompts))
    reads_text, reads_kl = bool(text_metrics(recipe, prompts)), bool(metrics & set(DIVERGENCE))
    if reads_text or (reads_kl and arm.kind == "base"):
        yield "answers"
    is_told = recipe.measure.distributions and recipe.prompts[prompts].role != "choosing" and arm.kind != "random"
    if reads_kl or (reads_text and is_told):
        yield "distributions"
    if metrics & set(CHOICE):
        yield "choice"
    if NLL in metrics:
        yield "perplexity"
    if SINK in metrics:
        yield "sinks"


def pieces(recipe: Recipe, arms: tuple[Arm, ...]) -> list[Piece]:
    """Everything that is planned for a model, prompt set by prompt set, the bare model first."""
    only = {cell.arm: cell.prompts for cell in cells(recipe) if cell.prompts}
    return [
        Piece(prompts, what, arm)
        for prompts, spec in recipe.measured().items()
        for arm in arms
        if _is_measured(recipe, spec.role, arm) and prompts in only.get(arm.of or arm.arm, [prompts])
        for what in kinds_of(recipe, prompts, arm)
    ]


def _is_measured(recipe: Recipe, role: Role, arm: Arm) -> bool:
    """Targets under every arm, capabilities under fewer random draws, what plans were chosen on under the plans alone."""
    if role == "choosing":
        return arm.of is None
    return role == "target" or arm.draw is None or arm.draw < recipe.controls.capability_draws


def stand_ins(planned: list[Piece]) -> dict[Piece, Arm]:
    """For each piece that a model can run, the first arm with an equal plan: it is run, and stands for the others."""
    first: dict[tuple[str, str, str | None], Arm] = {}
    able = [piece for piece in planned if piece.arm.reason is None]
    return {p: first.setdefault((p.prompts, p.what, p.arm.json), p.arm) for p in able}


def units_of(recipe: Recipe, model: int, planned: list[Piece]) -> list[Unit]:
    """The pieces that have to be run, gathered into units, in order."""
    sets, groups = list(recipe.prompts), dict[tuple[str, str], list[Arm]]()
    for piece, arm in stand_ins(planned).items():
        if arm is piece.arm:
            groups.setdefault((piece.prompts, piece.what), []).append(arm)
    return [
        Unit(prompts, what, tuple(arms[i : i + size]), _path(model, sets.index(prompts), what, arms[i].arm))
        for (prompts, what), arms in groups.items()
        for size in [1 if what in ("answers", "sinks") else TOGETHER]
        for i in range(0, len(arms), size)
    ]


def base_path(unit: Unit) -> str:
    """Where the bare model's answers to the unit's prompts lie, whether or not they are asked for."""
    model, prompts = Path(unit.path).name.split("-")[:2]
    return f"units/{model}-{prompts}-answers-base.parquet"


def outcomes(planned: list[Piece]) -> list[dict[str, str | None]]:
    """A row for each piece: run, shared with the arm that stands for it, or impossible."""
    run = stand_ins(planned)
    return [
        {
            "arm": p.arm.arm,
            "prompts": p.prompts,
            "what": p.what,
            "outcome": "impossible" if p not in run else "run" if run[p] is p.arm else "shared",
            "shared_with": run[p].arm if p in run and run[p] is not p.arm else None,
        }
        for p in planned
    ]


def _path(model: int, prompts: int, what: str, arm: str) -> str:
    return f"units/{model:02}-{prompts:02}-{what}-{arm}.parquet"
