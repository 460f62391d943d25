"""Several runs side by side: their claims, and the effects of the same arms with both intervals."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from workbench import WorkbenchError
from workbench.storage import write_text

from ...reports import template
from ..recipe import NOTHING, change, interval, levels, said
from .labels import arm_label
from .report import MARKS, opened

IDENTITY = ("kind", "name", "ranking", "end", "edit", "value", "n", "phase")
_NAMED = ("explicit", "plan", "bottom")


class Side(NamedTuple):
    """One run's cell: a word or the levels, the change, the interval."""

    head: str
    change: str
    interval: str
    plan: str = ""


class Line(NamedTuple):
    """What is compared, and a cell for each run (None where it was not measured there)."""

    label: str
    sides: tuple[Side | None, ...]
    apart: str
    """Whether two runs' intervals have nothing in common, in words; empty otherwise."""


class Opened(NamedTuple):
    """One run, read."""

    name: str
    model: str
    recipe: Any
    tables: dict[str, Any]


def write_comparison(runs: Sequence[Path], out: Path) -> Path:
    """Writes one page that compares two runs or more; a run of several models counts once for each. Returns `out`.

    Raises `WorkbenchError` for fewer than two, for a folder that is no finished run, and where nothing is common to them.
    """
    sides = [side for run in runs for side in _sides(run)]
    if len(sides) < 2:
        raise WorkbenchError(
            f"One run of one model is no comparison; give two runs or more, or report '{runs[0]}' alone."
        )
    claims, effects = claim_lines(sides), effect_lines(sides)
    if not any(sum(side is not None for side in line.sides) > 1 for line in (*claims, *effects)):
        names = ", ".join(side.name for side in sides)
        raise WorkbenchError(
            f"{names} have no claim and no plan in common; compare runs of one recipe, or of its variants."
        )
    page = template("comparison.html").render(
        sides=sides, claims=claims, effects=effects, marks=MARKS, differing=differing([side.recipe for side in sides])
    )
    write_text(out, page)
    return out


def claim_lines(sides: Sequence[Opened]) -> list[Line]:
    """Every claim, in the order of the runs; the same claim has the same name, sentence, prompts and measure."""
    same = ("name", "text", "prompts", "metric")
    found = [{tuple(row[key] for key in same): row for row in _of_model(side, "claims")} for side in sides]
    claims = dict.fromkeys(claim for rows in found for claim in rows)
    lines: list[Line] = []
    for claim in claims:
        rows = [rows.get(claim) for rows in found]
        text = next(row["text"] for row in rows if row)
        cells = tuple(row and _side(row, row["verdict"], "") for row in rows)
        lines.append(Line(text, cells, apart_by(rows)))
    return lines


def effect_lines(sides: Sequence[Opened]) -> list[Line]:
    """The same plan (ranking, end, edit, strength, n, phase) on the same prompts by the same metric, wherever two have it."""
    found = [_effects(side) for side in sides]
    keys = dict.fromkeys(key for rows in found for key in rows)
    lines: list[Line] = []
    for key in keys:
        rows = [rows.get(key) for rows in found]
        if sum(row is not None for row in rows) < 2:
            continue
        first = next(row for row in rows if row)
        label = f"{first['label']}; {first['prompts']}: {said(first['metric'])}"
        cells = tuple(
            row and _side(row, levels(row["base"], row["steered"], row["metric"]), row["plan"]) for row in rows
        )
        lines.append(Line(label, cells, apart_by(rows)))
    return lines


def _sides(run: Path) -> list[Opened]:
    recipe, tables, _ = opened(run)
    models = list(dict.fromkeys(tables["arms"]["model"]))
    return [Opened(run.name, model, recipe, tables) for model in models]


def _of_model(side: Opened, table: str) -> list[Any]:
    frame = side.tables[table]
    return frame[frame["model"] == side.model].to_dict("records")


def _effects(side: Opened) -> dict[tuple[str, ...], Any]:
    arms = {arm["arm"]: arm for arm in _of_model(side, "arms") if arm["kind"] in _NAMED}
    found: dict[tuple[str, ...], Any] = {}
    for row in _of_model(side, "effects"):
        if arm := arms.get(row["arm"]):
            key = (*(str(arm[name]) for name in IDENTITY), row["prompts"], row["metric"])
            found[key] = {**row, "label": arm_label(arm), "plan": arm["plan"]}
    return found


def _side(row: Any, head: str, plan: str) -> Side:
    metric = row["metric"]
    return Side(head, change(row["difference"], metric), interval(float(row["low"]), float(row["high"]), metric), plan)


def apart_by(rows: Sequence[Any]) -> str:
    """Says where intervals share no value (ours; it is no test)."""
    known = [row for row in rows if row and row["low"] == row["low"]]
    gap = max((row["low"] for row in known), default=0) - min((row["high"] for row in known), default=0)
    return f"intervals {change(gap, known[0]['metric'], with_unit=True).lstrip('+')} apart" if gap > 0 and known else ""


def differing(recipes: Sequence[Any]) -> list[tuple[str, tuple[str, ...]]]:
    """The recipes' top-level keys that are not the same in all, as text."""
    dumped = [recipe.model_dump(mode="json") for recipe in recipes]
    keys = [key for key in dumped[0] if any(one[key] != dumped[0][key] for one in dumped)]
    return [(key, tuple(shown_as(one[key]) for one in dumped)) for key in keys if key not in ("claims", "references")]


def shown_as(value: Any, most: int = 300) -> str:
    text = NOTHING if value in (None, "", [], {}) else str(value)
    return text if len(text) <= most else f"{text[: most - 1]}…"
