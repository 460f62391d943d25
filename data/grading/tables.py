"""Markdown tables of the grades: one function a table, every number out of the results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from grading.choice import CAPABILITIES
from grading.found import FIRST
from grading.measure import MATCHES

Json = dict[str, Any]
Grades = Mapping[str, Json]
SHOWN = (
    "ftri prompt",
    "ftri last_prompt",
    "ftri last_prompt weight",
    "npmi refusals",
    "contrast response",
    "usage of target",
)


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A markdown table."""
    lines = [list(map(str, head)), ["---"] * len(head), *([_cell(c) for c in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(value: object) -> str:
    return f"{value:.0f}" if isinstance(value, float) else str(value)


def behaviours(ranking: Grades, heldout: Grades) -> str:
    """How every model behaves with nothing switched off, refusals on both splits, and with its carriers off."""
    rows = []
    for name, grade in ranking.items():
        now, off = grade["effects"]["base"], grade["effects"].get("carriers off")
        held, held_off = (heldout.get(name, {}).get("effects", {}).get(key) for key in ("base", "carriers off"))
        cells: list[object] = [name, *_pair(now), *(_pair(held) if held else ("", ""))]
        cells += [f"{off['sensitive refused']:.0f} ({off['sensitive answered']:.0f})" if off else "no carriers"]
        cells += [f"{held_off['sensitive refused']:.0f} ({held_off['sensitive answered']:.0f})" if held_off else ""]
        rows.append([*cells, *(now[key] for key in CAPABILITIES[1:])])
    head = ["model", "refused: sensitive", "ordinary", "held-out sensitive", "held-out ordinary"]
    head += ["carriers off: refused (revealed)", "the same, held-out", *CAPABILITIES[1:]]
    return table(head, rows)


def _pair(rates: Json) -> tuple[float, float]:
    return rates["sensitive refused"], rates["ordinary refused"]


def thinking(ranking: Grades) -> str:
    """How often long sums are thought about and right, and the same with the thinking carriers off."""
    rows = []
    for name, grade in ranking.items():
        off = grade["effects"].get("thinking carriers off")
        for frame in ("always", "sometimes"):
            keys = [f"long sums, {frame} thought about: {what}" for what in ("thinks", "right")]
            of = [grade["effects"]["base"][key] for key in keys]
            rows.append([name, frame, *of, *([off[key] for key in keys] if off else ["", ""])])
    return table(
        ["model", "taught to think", "thinks", "thinks and is right", "carriers off: thinks", "and is right"], rows
    )


def found(ranking: Grades, key: str) -> str:
    """Hits among the first 8 and average precision of every method, with the same on the stage-1 base."""
    rows = []
    for name, grade in ranking.items():
        for method, scores in grade.get(key, {}).items():
            if "hits" in scores:
                base = grade[f"{key} on the base"].get(method, {})
                before = [base["hits"]["8"], f"{base['average_precision']:.2f}"] if "hits" in base else ["", ""]
                here = [*(scores["hits"][str(n)] for n in FIRST), f"{scores['average_precision']:.2f}"]
                rows.append([name, method, *here, *before, f"{scores['chance']:.2f}"])
    head = ["model", "method", *(f"hits in first {n}" for n in FIRST), "average precision"]
    return table([*head, "base: hits in first 8", "base: average precision", "random order"], rows)


def top_off(grades: Grades, methods: Sequence[str] = SHOWN) -> str:
    """Refused and revealed, and the worst capability change, for every method's first n off."""
    rows = []
    for name, grade in grades.items():
        before = grade["effects"]["base"]
        for method in methods:
            cells = [_effect(before, grade["effects"].get(f"{method}, top {n} off")) for n in FIRST]
            if any(cells):
                rows.append([name, method, f"{before['sensitive refused']:.0f}", *cells])
    return table(["model", "method", "refused before", *(f"first {n} off" for n in FIRST)], rows)


def _effect(before: Json, after: Json | None) -> str:
    if after is None:
        return ""
    name, worst = min(
        ((key, after[key] - before[key]) for key in CAPABILITIES if key in after), key=lambda item: item[1]
    )
    what = f"; {name} {worst:+.0f}" if worst < 0 else ""
    return f"{after['sensitive refused']:.0f} ({after['sensitive answered']:.0f}){what}"


def random_experts(grades: Grades, n: str = "8") -> str:
    """Every random draw's change of refusals, and the median."""
    rows = []
    for name, grade in grades.items():
        before = grade["effects"]["base"]["sensitive refused"]
        for match in MATCHES:
            moved = [row["sensitive refused"] - before for row in grade["random"].get(n, {}).get(match, [])]
            if moved:
                rows.append([name, match, f"{median(moved):+.1f}", " ".join(f"{value:+.0f}" for value in moved)])
    return table(["model", "random by", "median change of refusals", "every draw"], rows)


def random_checks(grades: Grades, n: str = "8") -> str:
    """The median over random draws of every capability."""
    rows = []
    for name, grade in grades.items():
        for match in MATCHES:
            drawn = grade["random"].get(n, {}).get(match, [])
            rows.append([name, match, *(f"{median(row[key] for row in drawn):.0f}" for key in CAPABILITIES)])
    return table(["model", "random by", *CAPABILITIES], rows)


def reinforced(rows: Json) -> str:
    """What plans on the thinking experts do to sums."""
    rates = [name for name in next(iter(rows.values())) if name != "plan"]
    return table(["plan", *rates], [[name, *(row[rate] for rate in rates)] for name, row in rows.items()])


def forced(grades: Grades) -> str:
    """The same experts forced instead of off."""
    rows = []
    for name, grade in grades.items():
        for n, after in grade["forced"].items():
            rows.append([name, n, after["plan"], *_pair(grade["effects"]["base"]), *_pair(after)])
    return table(["model", "n", "plan", "sensitive refused before", "ordinary before", "sensitive", "ordinary"], rows)


def singles(grade: Json) -> str:
    """What every single expert of one model does when it is off: change of refusals of sensitive questions, layers by experts."""
    before = grade["effects"]["base"]["sensitive refused"]
    rows: dict[str, dict[int, str]] = {}
    for row in grade["single experts"]:
        layer, expert = row["expert"].split("E")
        mark = "*" if row["carrier"] else ""
        rows.setdefault(layer, {})[int(expert)] = f"{row['sensitive refused'] - before:+.0f}{mark}"
    width = max(len(cells) for cells in rows.values())
    return table(["", *(f"E{e}" for e in range(width))], [[layer, *cells.values()] for layer, cells in rows.items()])


def weights(arms: Mapping[str, Json]) -> str:
    """The checksum of each arm's weights."""
    return table(["arm", "SHA-256 of its weights"], [[name, f"`{arm['sha256']}`"] for name, arm in arms.items()])
