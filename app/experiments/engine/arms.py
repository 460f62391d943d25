"""Arms: the recipe's plans with experts in them, for one model, and the controls that each is set beside.

What a model cannot do stays as an arm with its reason: it is never trimmed, and never left out in silence.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from probes.ranking import SUPER_EXPERT, ExpertScores, refs_of
from workbench import ExpertRef, Plan, WorkbenchError
from workbench.storage import write_text

from ..recipe import Cell, CellPart, Recipe, cells
from .freed import Sizes
from .least import LEAST, least, most
from .unit_files import read_unit, write_unit

if TYPE_CHECKING:
    from workbench.anatomy import Anatomy

MATCHES = ("count", "layer", "usage")


class Arm(NamedTuple):
    """One way to run a model; the fields are the columns of the table `arms`, and the plan as JSON."""

    arm: str
    kind: str
    name: str | None = None
    of: str | None = None
    match: str | None = None
    draw: int | None = None
    ranking: str | None = None
    end: str | None = None
    edit: str | None = None
    value: str | None = None
    n: int | None = None
    phase: str | None = None
    plan: str | None = None
    experts: tuple[str, ...] = ()
    super_experts: tuple[str, ...] = ()
    reason: str | None = None
    json: str | None = None

    def edits(self) -> Plan:
        """Its plan; empty for the bare model."""
        return Plan.from_json(self.json) if self.json else Plan()


class Ranked(NamedTuple):
    """What a model's rankings found: scores by name, and by name the load of every expert of the store."""

    scores: "Mapping[str, ExpertScores]"
    loads: Mapping[str, pd.DataFrame]
    supers: frozenset[ExpertRef]
    """Experts that some ranking's store flags as super experts."""
    failed: Mapping[str, str]
    """Why a ranking could not be made on this model, by name."""

    @classmethod
    def of(
        cls, scores: "Mapping[str, ExpertScores]", loads: Mapping[str, pd.DataFrame], failed: Mapping[str, str]
    ) -> "Ranked":
        """With the flags that the scores carry."""
        supers = frozenset(ref for found in scores.values() for ref in found.flagged(SUPER_EXPERT))
        return cls(scores, loads, supers, failed)

    def by(self, ranking: str | None) -> "ExpertScores":
        """The ranking's scores. Raises `WorkbenchError` when this model has none."""
        if str(ranking) in self.failed:
            raise WorkbenchError(f"The ranking '{ranking}' could not be made: {self.failed[str(ranking)]}")
        return self.scores[str(ranking)]

    def loads_for(self, ranking: str | None) -> pd.DataFrame:
        """The loads of the ranking's store; for an explicit plan those of the recipe's first ranking."""
        found = self.loads.get(ranking or next(iter(self.loads), ""))
        if found is None:
            raise WorkbenchError("There is no ranking, so no store says how much each expert is used.")
        return found


def empty_arms(recipe: Recipe) -> tuple[Arm, ...]:
    """The bare model, then every plan followed by its controls, in the recipe's order; no experts yet."""
    found = [Arm("base", "base")]
    for cell in cells(recipe):
        about = {key: getattr(cell, key) for key in ("name", "ranking", "end", "edit", "value", "n", "phase")}
        plan = Arm(cell.arm, "plan" if cell.text is None else "explicit", **about)
        found += [plan, *_empty_controls(recipe, plan)]
    return tuple(found)


def _empty_controls(recipe: Recipe, plan: Arm) -> Iterator[Arm]:
    if recipe.controls.bottom and plan.kind == "plan":
        yield plan._replace(arm=f"{plan.arm}.bottom", kind="bottom", of=plan.arm)
    for match in MATCHES:
        for draw in range(getattr(recipe.controls, match)):
            name = f"{plan.arm}.{match}.{draw}"
            yield plan._replace(arm=name, kind="random", of=plan.arm, match=match, draw=draw)


def arms_of(recipe: Recipe, anatomy: "Anatomy", ranked: Ranked) -> tuple[Arm, ...]:
    """The same arms with this model's experts in them, or the reason why it has none."""
    by_arm, found = {cell.arm: cell for cell in cells(recipe)}, dict[str, Arm]()
    for arm in empty_arms(recipe):
        if arm.kind == "base":
            found[arm.arm] = arm
            continue
        made = partial(_plan, recipe, anatomy, ranked, by_arm[arm.of or arm.arm], arm, found.get(str(arm.of)))
        found[arm.arm] = _filled(arm, anatomy, ranked, made)
    return tuple(found.values())


def _plan(recipe: Recipe, anatomy: "Anatomy", ranked: Ranked, cell: Cell, arm: Arm, of: Arm | None) -> Plan:
    if of is None:
        return plan_of(recipe, anatomy, ranked, cell)
    if of.reason is not None:
        raise WorkbenchError(f"{of.arm} cannot be run, so it needs no control.")
    if arm.kind == "bottom":
        return _other_end(ranked, cell)
    loads = ranked.loads_for(arm.ranking) if arm.match == "usage" else None
    match: Any = arm.match
    # beside half of the experts the other half alone would be left to draw
    among: Any = {"apart": False} if any(part.end in LEAST for part in cell.parts) else {}
    seed = recipe.seed * 1000 + (arm.draw or 0)  # as compare draws
    return Plan.random_like(of.edits(), anatomy, match, loads, seed, **among)


def _filled(empty: Arm, anatomy: "Anatomy", ranked: Ranked, make: Callable[[], Plan]) -> Arm:
    try:
        plan = make()
        arm = empty._replace(
            plan=str(plan),
            experts=tuple(map(str, plan.experts)),
            super_experts=tuple(str(e) for e in plan.experts if e in ranked.supers),
            n=empty.n or len(plan.experts),
        )
        return arm._replace(json=plan.for_model(anatomy).check(anatomy).to_json())
    except WorkbenchError as error:
        return empty._replace(reason=str(error))


# ---- which experts


def plan_of(recipe: Recipe, anatomy: "Anatomy", ranked: Ranked, cell: Cell) -> Plan:
    """The cell's plan on this model. Raises `WorkbenchError` when the ranking or the text does not give it."""
    if cell.text is not None:
        return Plan.parse(cell.text, anatomy)
    scores = ranked.by(cell.ranking)
    if recipe.controls.super_experts == "exclude":
        is_super = [SUPER_EXPERT in flags.split("; ") for flags in scores.frame["flags"]]
        scores = replace(scores, frame=scores.frame[[not x for x in is_super]].reset_index(drop=True))
    return _joined(cell, [_experts(scores, part) for part in cell.parts])


def _experts(scores: "ExpertScores", part: CellPart) -> tuple[ExpertRef, ...]:
    if part.end in LEAST:
        return least(scores, part)
    return scores.top(part.n) if part.end == "top" else scores.bottom(part.n)


def _other_end(ranked: Ranked, cell: Cell) -> Plan:
    """The same edits on the ranking's other end: its last experts (or first) of those that were selected at all.

    Not `ExpertScores.bottom`: scores that cannot be negative have a last expert all the same.
    """
    return _joined(cell, [_last(ranked.by(cell.ranking), part) for part in cell.parts])


def _last(scores: "ExpertScores", part: CellPart) -> tuple[ExpertRef, ...]:
    if part.end in LEAST:
        return most(scores, part)
    frame: Any = scores.frame[scores.frame["score"].notna() & (scores.frame["n"] > 0)]
    rows = frame.tail(part.n).iloc[::-1] if part.end == "top" else frame.head(part.n)
    if len(rows) < part.n:
        raise WorkbenchError(f"Only {len(rows)} experts were selected at all, and {part.n} were asked for.")
    return tuple(refs_of(rows))


def _joined(cell: Cell, experts: list[tuple[ExpertRef, ...]]) -> Plan:
    plan, scope = Plan(), {"phase": None if cell.phase == "all" else cell.phase, "span": cell.span}
    for part, refs in zip(cell.parts, experts, strict=True):
        strength = () if part.value is None else (part.value,)
        plan |= getattr(Plan, part.edit)(refs, *strength, **scope)
    return plan


# ---- to and from a file


def to_rows(arms: tuple[Arm, ...]) -> list[dict[str, Any]]:
    """Rows of the unit file: the columns of `arms`, and json."""
    return [arm._asdict() | {"experts": list(arm.experts), "super_experts": list(arm.super_experts)} for arm in arms]


def from_rows(rows: list[dict[str, Any]]) -> tuple[Arm, ...]:
    """The inverse of `to_rows`."""
    return tuple(
        Arm(**{**row, "experts": tuple(row["experts"]), "super_experts": tuple(row["super_experts"])}) for row in rows
    )


def arms_path(number: int) -> str:
    """Where a model's arms lie in the run."""
    return f"units/{number:02}-arms.parquet"


def write_arms(run: Path, number: int, arms: tuple[Arm, ...]) -> None:
    """Writes a model's arms, from which `read_arms` makes them again."""
    write_unit(run, arms_path(number), pd.DataFrame(to_rows(arms)).astype(object))


def read_arms(run: Path, number: int) -> tuple[Arm, ...]:
    """A model's arms, as they were made."""
    return from_rows(read_unit(run / arms_path(number)).to_pylist())


def plan_path(run: Path, recipe: Recipe, model: str, arm: str) -> Path:
    """Where the plan of an arm lies in the run, as `--plan` takes it; `model` is the source of one of the recipe's models."""
    number = [source.source for source in recipe.models].index(model)
    return run / "plans" / (f"{number:02}-{arm}.json" if len(recipe.models) > 1 else f"{arm}.json")


def write_plans(run: Path, recipe: Recipe, number: int, sizes: Sizes | None = None) -> None:
    """Writes every plan that a model could run, without the controls, and what one that prunes would free."""
    for arm in read_arms(run, number):
        if arm.of is None and arm.json is not None:
            path = plan_path(run, recipe, recipe.models[number].source, arm.arm)
            path.parent.mkdir(exist_ok=True)
            freed = None if sizes is None else sizes.freed_by(arm.edits())
            about = {} if freed is None else {"frees": freed}
            write_text(path, json.dumps(json.loads(arm.json) | about, indent=1) + "\n")
