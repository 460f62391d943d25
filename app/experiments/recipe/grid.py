"""A recipe's plans as cells: everything in lists crossed, numbered in the recipe's order, the same for every model."""

from collections.abc import Iterable, Iterator
from itertools import product
from typing import NamedTuple

from workbench.plan import VALUED_KINDS, Kind

from .recipe import Recipe
from .sections import Claim, End, PhaseName, Plans

Strength = float | str | None


class CellPart(NamedTuple):
    """So many experts of one end of the ranking, and what happens to them."""

    end: End
    n: int
    edit: Kind
    value: Strength


class Cell(NamedTuple):
    """One plan of the recipe before there are experts: from a ranking (`parts`), or explicit (`text`)."""

    arm: str
    name: str | None
    ranking: str | None
    parts: tuple[CellPart, ...]
    phase: PhaseName
    span: tuple[str, str] | None
    text: str | None
    prompts: tuple[str, ...]
    """The sets that it is measured on; empty for all."""

    @property
    def end(self) -> str | None:
        """The ends of its parts, joined by +."""
        return _joined(p.end for p in self.parts)

    @property
    def edit(self) -> str | None:
        """The edits of its parts, joined by +."""
        return _joined(p.edit for p in self.parts)

    @property
    def value(self) -> str | None:
        """The strengths of its parts as text, joined by +; None where none has one."""
        return _joined(strength(p.value) for p in self.parts if p.value is not None)

    @property
    def n(self) -> int | None:
        """Experts in all; None for an explicit plan."""
        return sum(p.n for p in self.parts) or None


def strength(value: Strength) -> str:
    """A strength as the tables write it: 2, 0.5, mean."""
    return value if isinstance(value, str) else repr(float(value or 0)).removesuffix(".0")


def cells(recipe: Recipe) -> tuple[Cell, ...]:
    """Every plan of the recipe; `arm` is P01, P02, ..."""
    found = [cell for plans in recipe.plans for cell in _crossed(plans)]
    width = max(2, len(str(len(found))))
    return tuple(cell._replace(arm=f"P{number:0{width}}") for number, cell in enumerate(found, 1))


def chosen(recipe: Recipe, claim: Claim) -> list[Cell]:
    """The cells that a claim's keys fit; a claim is about exactly one."""
    return [cell for cell in cells(recipe) if _fits(cell, claim)]


def _crossed(plans: Plans) -> Iterator[Cell]:
    if plans.text is not None:
        yield Cell("", plans.name, None, (), "all", None, plans.text, plans.prompts)
        return
    for ranking, parts, phase in product(plans.ranking, list(_parts(plans)), plans.phase):
        yield Cell("", plans.name, ranking, parts, phase, plans.span, None, plans.prompts)


def _parts(plans: Plans) -> Iterator[tuple[CellPart, ...]]:
    if plans.parts:
        for n in plans.n or (0,):
            yield tuple(CellPart(p.end, p.n or n, p.edit, p.value) for p in plans.parts)
        return
    for end, edit in product(plans.end, plans.edit):
        for value, n in product(_values(edit, plans), plans.n):
            yield (CellPart(end, n, edit, value),)


def _values(edit: Kind, plans: Plans) -> tuple[Strength, ...]:
    """Numbers for scale and bias, "mean" for replace, none for the others."""
    if edit not in VALUED_KINDS:
        return (None,)
    return tuple(v for v in plans.value if (v == "mean") == (edit == "replace"))


def _fits(cell: Cell, claim: Claim) -> bool:
    asked = {
        "name": claim.plan,
        "ranking": claim.ranking,
        "edit": claim.edit,
        "end": claim.end,
        "n": claim.n,
        "value": None if claim.value is None else strength(claim.value),
        "phase": claim.phase,
    }
    return all(value is None or getattr(cell, key) == value for key, value in asked.items())


def _joined(words: Iterable[str]) -> str | None:
    return "+".join(words) or None
