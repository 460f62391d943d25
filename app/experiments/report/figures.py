"""A claim's figure: the plan's effect with its interval, every random draw, the other end, and the paper's change.

Below it, where the recipe has a grid, the metric itself over the number of experts or the strength.
"""

from math import isnan

from ...reports import Scale, band, circle, diamond, figure, line, linear, path, rect, round_values, text
from ..recipe import NOTHING, change, interval, level, said, unit_of
from .facts import ClaimFacts, Grid, Measured

WIDTH = 820
_LEFT, _RIGHT, _ROW, _TOP = 258, 190, 27, 34
_FAR = 2.5
"""The paper's change is drawn as an arrow at the edge where it is so many times further than anything measured here."""
_PANEL_HEIGHT = 225


def claim_figure(facts: ClaimFacts) -> str:
    """The whole drawing as SVG that takes its colours from the page around it."""
    rows = _rows(facts)
    height = _TOP + _ROW * len(rows) + 46
    unit, words = unit_of(facts.claim.metric), said(facts.claim.metric)
    x = linear(_domain(facts), (_LEFT, WIDTH - _RIGHT))
    pieces = [*_axis(x, facts, height), *_promised(facts, x, height)]
    pieces.append(
        text((_LEFT + WIDTH - _RIGHT) / 2, height - 6, f"change of {words}, {unit.change}", "label", "middle")
    )
    for i, (kind, label, found) in enumerate(rows):
        pieces += _drawn(kind, label, found, facts, x, _TOP + _ROW * (i + 0.5))
    for i, grid in enumerate(facts.grids[:2]):
        wide = WIDTH / min(len(facts.grids), 2)
        pieces += _panel(grid, facts, (14 + i * wide, height + 18), wide)
    height += _PANEL_HEIGHT + 18 if facts.grids else 0
    return figure(WIDTH, height, pieces, f"{facts.claim.text}: {facts.row['verdict']} on {facts.row['model']}")


Row = tuple[str, str, tuple[Measured, ...]]


def _rows(facts: ClaimFacts) -> list[Row]:
    rows: list[Row] = []
    if facts.plan is not None:
        rows.append(("plan", "the plan", (facts.plan,)))
    rows += [("random", f"{d.label} ({len(d.found)})", d.found) for d in facts.draws]
    if facts.bottom is not None:
        rows.append(("bottom", "other end of the ranking", (facts.bottom,)))
    if facts.paper_change is not None:
        paper = facts.claim.paper
        rows.append(("paper", f"paper, {paper.model or 'its model'}" if paper else "paper", ()))
    return rows


def _domain(facts: ClaimFacts) -> tuple[float, float]:
    """From the leftmost to the rightmost mark and 0, with a little room."""
    ours = _ours(facts)
    paper = facts.paper_change
    if paper is not None and not _is_far(facts):
        ours.append(paper)
    low, high = min(ours), max(ours)
    room = 0.06 * (high - low) or (0.05 if unit_of(facts.claim.metric).factor != 1 else 1.0)
    return low - room, high + room


def _ours(facts: ClaimFacts) -> list[float]:
    found = [m for _, _, some in _rows(facts) for m in some]
    values = [v for m in found for v in (m.difference, m.low, m.high) if not isnan(v)]
    return [0.0, *values, *_promises(facts)]


def _promises(facts: ClaimFacts) -> list[float]:
    """Where the verdict's limits lie."""
    if facts.claim.direction == "none":
        return [-facts.claim.within, facts.claim.within]
    if facts.at_least is None:
        return []
    asked = facts.at_least if facts.claim.direction == "up" else -facts.at_least
    measured = [abs(v) for m in ([facts.plan] if facts.plan else []) for v in (m.low, m.high, m.difference)]
    return [] if abs(asked) > _FAR * max(measured, default=0.0) else [asked]


def _is_far(facts: ClaimFacts) -> bool:
    ours = [abs(v) for v in _ours(facts)]
    return facts.paper_change is not None and abs(facts.paper_change) > _FAR * max(ours)


def _axis(x: Scale, facts: ClaimFacts, height: float) -> list[str]:
    factor = unit_of(facts.claim.metric).factor
    low, high = _domain(facts)
    ticks = round_values(factor * low, factor * high)
    bottom = height - 44
    pieces = [line(x(t / factor), _TOP, x(t / factor), bottom, "grid") for t in ticks]
    pieces += [text(x(t / factor), bottom + 15, _tick(t), "tick", "middle") for t in ticks]
    return [*pieces, line(x(0), _TOP - 4, x(0), bottom, "zero")]


def _promised(facts: ClaimFacts, x: Scale, height: float) -> list[str]:
    """Dotted: the smallest change that the claim is about, or the band within which nothing has changed."""
    ends = _promises(facts)
    words = "nothing changed between these" if len(ends) == 2 else "asked for"
    pieces = [line(x(v), _TOP - 4, x(v), height - 44, "asked") for v in ends]
    if ends:
        middle = sum(x(v) for v in ends) / len(ends)
        pieces.append(text(middle, _TOP - 10, words, "tiny", "middle"))
    return pieces


def _drawn(kind: str, label: str, found: tuple[Measured, ...], facts: ClaimFacts, x: Scale, y: float) -> list[str]:
    metric = facts.claim.metric
    pieces = [text(_LEFT - 14, y + 4, _short(label), "label" if kind == "plan" else "tick", "end")]
    right = WIDTH - _RIGHT + 12
    if kind == "paper":
        return [*pieces, *_paper_mark(facts, x, y), text(right, y + 4, _paper_words(facts), "tick")]
    if kind == "random":
        known = [m for m in found if not isnan(m.difference)]
        marks = [diamond(x(m.difference), y, 4, "random", _tip(m, metric)) for m in known]
        values = [m.difference for m in known]
        words = f"{change(min(values), metric)} to {change(max(values), metric)}" if values else NOTHING
        return [*pieces, *marks, text(right, y + 4, words, "tick")]
    one = found[0]
    if not isnan(one.low):
        pieces.append(line(x(one.low), y, x(one.high), y, "whisker thick" if kind == "plan" else "whisker"))
    words = f"{change(one.difference, metric)} {interval(one.low, one.high, metric)}"
    mark = circle(
        x(one.difference), y, 6 if kind == "plan" else 5, "plan" if kind == "plan" else "hollow", _tip(one, metric)
    )
    return [*pieces, mark, text(right, y + 4, words, "label" if kind == "plan" else "tick")]


def _paper_mark(facts: ClaimFacts, x: Scale, y: float) -> list[str]:
    value = facts.paper_change or 0.0
    tip = f"{facts.claim.paper.what}" if facts.claim.paper else ""
    if not _is_far(facts):
        return [rect(x(value) - 5, y - 5, 10, 10, "paper", tip)]
    edge, step = (x(_domain(facts)[1]), -9) if value > 0 else (x(_domain(facts)[0]), 9)
    arrow = path([(edge + step, y - 6), (edge, y), (edge + step, y + 6)], "paper-line")
    return [rect(edge + 2 * step - 5, y - 5, 10, 10, "paper", tip), arrow]


def _paper_words(facts: ClaimFacts) -> str:
    paper = facts.claim.paper
    grade = f" ({paper.grade})" if paper is not None and paper.grade else ""
    return f"{change(facts.paper_change, facts.claim.metric)}{grade}"


def _tip(m: Measured, metric: str) -> str:
    return f"{m.plan}: {level(m.base, metric)} to {level(m.steered, metric)}"


def _panel(grid: Grid, facts: ClaimFacts, at: tuple[float, float], wide: float) -> list[str]:
    """The metric over experts or strength, with the interval of the change, and every draw beside it."""
    metric = facts.claim.metric
    left, top = at[0] + 44, at[1] + 26
    right, bottom = at[0] + wide - 30, at[1] + _PANEL_HEIGHT - 48
    x = linear((-0.5, len(grid.points) - 0.3), (left, right))
    y_low, y_high = _levels(grid, metric)
    y = linear((y_low, y_high), (bottom, top))
    factor, base = unit_of(metric).factor, grid.points[0][1].base
    ticks = round_values(factor * y_low, factor * y_high)
    pieces = [line(left, y(t / factor), right, y(t / factor), "grid") for t in ticks]
    pieces += [text(left - 7, y(t / factor) + 4, _tick(t), "tick", "end") for t in ticks]
    pieces.append(text(left - 40, top - 14, f"{said(metric)}, {unit_of(metric).level}", "label"))
    pieces += [line(left, y(base), right, y(base), "base"), text(right, y(base) - 5, "without the plan", "tiny", "end")]
    step = min(14.0, (x(1) - x(0)) / 4)
    pieces += _band(grid, x, y, step)
    pieces.append(path([(x(i), y(m.steered)) for i, (_, m, _) in enumerate(grid.points)], "plan-line"))
    for i, (name, m, draws) in enumerate(grid.points):
        pieces += [
            diamond(x(i) + step, y(d.steered), 3, "random", _tip(d, metric)) for d in draws if not isnan(d.steered)
        ]
        if not isnan(m.low):
            low, high = (min(max(m.base + d, y_low), y_high) for d in (m.low, m.high))
            pieces.append(line(x(i), y(low), x(i), y(high), "whisker"))
        pieces.append(circle(x(i), y(m.steered), 5, "plan", _tip(m, metric)))
        pieces.append(text(x(i), bottom + 17, name, "label" if i == grid.chosen else "tick", "middle"))
    return [*pieces, text((left + right) / 2, bottom + 36, grid.axis, "label", "middle")]


def _band(grid: Grid, x: Scale, y: Scale, step: float) -> list[str]:
    """From the lowest to the highest random draw, where every number of experts has two or more."""
    known = [[d.steered for d in draws if not isnan(d.steered)] for _, _, draws in grid.points]
    if min(map(len, known)) < 2:
        return []
    at = [x(i) + step for i in range(len(known))]
    low, high = ([(a, y(end(found))) for a, found in zip(at, known, strict=True)] for end in (min, max))
    return [band(low, high, "band")]


def _levels(grid: Grid, metric: str) -> tuple[float, float]:
    """Shares from 0 to 1; anything else around what there is."""
    if unit_of(metric).factor != 1:
        return 0.0, 1.0
    values = [v for _, m, draws in grid.points for d in (m, *draws) for v in (d.base, d.steered)]
    values += [v for _, m, _ in grid.points for v in (m.base + m.low, m.base + m.high)]
    known = [v for v in values if not isnan(v)]
    room = 0.08 * (max(known) - min(known)) or 1.0
    return min(known) - room, max(known) + room


def _tick(value: float) -> str:
    return f"{value:g}".replace("-", "−")


def _short(label: str, most: int = 38) -> str:
    return label if len(label) <= most else f"{label[: most - 1]}…"
