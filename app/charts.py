"""The report's charts, each from `Findings` alone. Every number drawn is also in the tip of its mark."""

from collections.abc import Sequence
from math import ceil, floor, log10
from typing import Any

from .findings import Arm, Effect, Findings, Ranking
from .reports import Scale, circle, diamond, figure, line, linear, path, rect, text

WIDTH = 720
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 16, 26, 42


def dose_response(found: Findings, check: str, y_label: str) -> str:
    """A share of held-out prompts against the number of experts switched off, beside every random draw."""
    height, arms = 270, found.arms
    x = linear((-0.5, len(arms) - 0.5), (_LEFT, 350 - _RIGHT))
    y = linear((0, 100), (height - _BOTTOM, _TOP))
    effects = [arm.effect(check) for arm in arms]
    pieces = [*_percent_axis(y, _LEFT, 350 - _RIGHT, y_label)]
    base = y(100 * effects[0].base)
    pieces += [line(_LEFT, base, 350 - _RIGHT, base, "base"), text(_LEFT + 3, base - 5, "base", "small")]
    pieces.append(path([(x(i), y(100 * e.steered)) for i, e in enumerate(effects)], "plan-line"))
    for i, (arm, effect) in enumerate(zip(arms, effects, strict=True)):
        pieces += _random_dots(x(i) + 14, y, arm, effect)
        pieces += _whisker(x(i), y, effect)
        tip = f"{arm.plan}: {effect.steered:.1%} of {effect.n} prompts ({effect.base:.1%} without)"
        pieces.append(circle(x(i), y(100 * effect.steered), 5, "plan", tip))
        pieces.append(text(x(i), height - 24, arm.n, "tick", "middle"))
    pieces.append(text((_LEFT + 350 - _RIGHT) / 2, height - 6, "experts switched off", "label", "middle"))
    return figure(350, height, pieces, f"{check} against the number of experts switched off")


def _whisker(x: float, y: Scale, effect: Effect) -> list[str]:
    """The 95 % interval of the difference, drawn around the steered share."""
    if effect.low != effect.low:
        return []
    ends = [min(max(100 * (effect.base + d), 0), 100) for d in (effect.low, effect.high)]
    return [line(x, y(ends[0]), x, y(ends[1]), "whisker")]


def _random_dots(x: float, y: Scale, arm: Arm, effect: Effect) -> list[str]:
    return [
        diamond(x + 6 * i, y(100 * share), 4, "random", f"random: {plan}: {share:.1%}")
        for i, ((plan, _), share) in enumerate(zip(arm.random, effect.random, strict=True))
    ]


def _percent_axis(y: Scale, left: float, right: float, label: str) -> list[str]:
    pieces = [line(left, y(v), right, y(v), "grid") for v in (0, 25, 50, 75, 100)]
    pieces += [text(left - 7, y(v) + 4, f"{v} %", "tick", "end") for v in (0, 25, 50, 75, 100)]
    return [*pieces, text(left - 46, y(100) - 12, label, "label")]


def checks(arm: Arm, names: Sequence[str]) -> str:
    """Each check's share before, after, and after as many random experts, on one axis from 0 to 100 %."""
    left, row = 230, 26
    height = _TOP + row * len(names) + _BOTTOM
    x = linear((0, 100), (left, WIDTH - _RIGHT - 20))
    pieces = [line(x(v), _TOP, x(v), height - _BOTTOM, "grid") for v in (0, 25, 50, 75, 100)]
    pieces += [text(x(v), height - 26, f"{v} %", "tick", "middle") for v in (0, 25, 50, 75, 100)]
    pieces.append(text((left + WIDTH) / 2 - 18, height - 6, "share of held-out prompts", "label", "middle"))
    for i, name in enumerate(names):
        effect, middle = arm.effect(name), _TOP + row * (i + 0.5)
        pieces.append(text(left - 12, middle + 4, name, "tick", "end"))
        pieces.append(line(x(100 * effect.base), middle, x(100 * effect.steered), middle, "plan-line"))
        pieces += [
            diamond(x(100 * share), middle + 7, 3.5, "random", f"random: {plan}: {share:.1%}")
            for (plan, _), share in zip(arm.random, effect.random, strict=True)
        ]
        pieces.append(circle(x(100 * effect.base), middle, 6, "hollow", f"{name}: base {effect.base:.1%}"))
        pieces.append(circle(x(100 * effect.steered), middle, 4.5, "plan", f"{name}: steered {effect.steered:.1%}"))
    return figure(WIDTH, height, pieces, "Every check before and after")


def expert_map(ranking: Ranking, n_layers: int, marked: Sequence[str], implanted: Sequence[str], unit: str) -> str:
    """Layer x expert: the score as colour; a dot on what was switched off, a frame on what training tuned."""
    rows = [r for r in ranking.rows if not r.get("is_shared")]
    n = 1 + max(r["expert"] for r in rows)
    left, top = 64, 22
    cell = min(26.0, (WIDTH - left - _RIGHT) / n)
    largest = max((abs(r["score"]) for r in rows if r["score"] is not None), default=0.0) or 1.0
    pieces = [text(left + cell * (e + 0.5), top - 6, e, "tiny", "middle") for e in range(0, n, 1 if cell > 18 else 4)]
    layers = sorted({r["layer"] for r in rows})
    pieces += [text(left - 8, top + cell * (i + 0.5) + 4, f"layer {v}", "tick", "end") for i, v in enumerate(layers)]
    for r in rows:
        at = left + cell * r["expert"], top + cell * layers.index(r["layer"])
        pieces += _cell(r, at, cell, largest, marked, implanted)
    height = top + cell * len(layers) + 48
    return figure(
        WIDTH,
        int(height),
        [*pieces, *_colour_bar(left, height - 30, largest, unit)],
        f"{ranking.method} by layer and expert",
    )


def _cell(
    row: dict[str, Any],
    at: tuple[float, float],
    cell: float,
    largest: float,
    marked: Sequence[str],
    implanted: Sequence[str],
) -> list[str]:
    name, score = f"L{row['layer']}E{row['expert']}", row["score"]
    tip = f"{name}: never selected" if score is None else f"{name}: {score:+.4f}, selected at {row['n']} tokens"
    said = [tip, *(["tuned in training"] if name in implanted else []), *([row["flags"]] if row["flags"] else [])]
    kind, share = ("nothing", 1.0) if score is None else ("pos" if score > 0 else "neg", abs(score) / largest)
    x, y = at
    drawn = [rect(x + 0.5, y + 0.5, cell - 1, cell - 1, f"cell {kind}", "; ".join(said), share)]
    if name in implanted:
        drawn.append(rect(x + 1.5, y + 1.5, cell - 3, cell - 3, "frame"))
    if name in marked:
        drawn.append(circle(x + cell / 2, y + cell / 2, cell / 6, "mark"))
    return drawn


def _colour_bar(x: float, y: float, largest: float, unit: str) -> list[str]:
    steps = [-1.0, -0.75, -0.5, -0.25, 0.0, 0.25, 0.5, 0.75, 1.0]
    boxes = [rect(x + 18 * i, y, 18, 10, f"cell {'pos' if v > 0 else 'neg'}", "", abs(v)) for i, v in enumerate(steps)]
    ends = [text(x, y + 23, f"{-largest:.2g}", "tiny"), text(x + 162, y + 23, f"{largest:+.2g}", "tiny", "end")]
    return [*boxes, *ends, text(x + 172, y + 9, unit, "tick")]


def bars(ranking: Ranking, n: int, implanted: Sequence[str], unit: str) -> str:
    """The first n experts with their 95 % intervals; filled where training tuned the expert."""
    rows, row, left = [r for r in ranking.rows if r["score"] is not None][:n], 22, 74
    height = _TOP + row * len(rows) + _BOTTOM
    values = [v for r in rows for v in (r["score"], r["low"], r["high"]) if v is not None]
    x = linear((min(0.0, *values), max(0.0, *values)), (left, WIDTH - 60))
    ticks = _nice(min(0.0, *values), max(0.0, *values))
    pieces = [line(x(v), _TOP, x(v), height - _BOTTOM, "grid") for v in ticks]
    pieces += [text(x(v), height - 26, f"{v:g}", "tick", "middle") for v in ticks]
    pieces.append(text((left + WIDTH - 60) / 2, height - 6, unit, "label", "middle"))
    for i, r in enumerate(rows):
        name, y = f"L{r['layer']}E{r['expert']}", _TOP + row * i
        kind = "bar tuned" if name in implanted else "bar"
        tip = f"{name}: {r['score']:.3f}" + (", tuned in training" if name in implanted else "")
        pieces.append(text(left - 8, y + 15, name, "tick", "end"))
        pieces.append(rect(min(x(0), x(r["score"])), y + 4, abs(x(r["score"]) - x(0)), row - 8, kind, tip))
        if r["low"] is not None:
            pieces.append(line(x(r["low"]), y + row / 2, x(r["high"]), y + row / 2, "whisker"))
        pieces.append(text(WIDTH - 52, y + 15, _p(r["p_adjusted"]), "tiny"))
    return figure(WIDTH, height, pieces, f"First {n} experts by {ranking.method}")


def _p(value: float | None) -> str:
    return "" if value is None else f"p {value:.3f}" if value >= 0.001 else "p < 0.001"


def extremes(ranking: Ranking, residual: Sequence[tuple[int, float]]) -> str:
    """Largest absolute output of every expert by layer, on a log axis, with the residual stream's largest value."""
    rows = [r for r in ranking.rows if r["score"]]
    layers = sorted({r["layer"] for r in rows})
    stream = [(layer, value) for layer, value in residual if layer in layers and value > 0]
    height, values = 300, [r["score"] for r in rows] + [value for _, value in stream]
    low, high = floor(log10(min(values))), ceil(log10(max(values)))
    y = linear((low, max(high, low + 1)), (height - _BOTTOM, _TOP + 10))
    x = linear((-0.5, len(layers) - 0.5), (_LEFT + 10, WIDTH - _RIGHT))
    pieces = [line(_LEFT + 10, y(v), WIDTH - _RIGHT, y(v), "grid") for v in range(low, high + 1)]
    pieces += [text(_LEFT + 3, y(v) + 4, f"{10.0**v:g}", "tick", "end") for v in range(low, high + 1)]
    pieces.append(text(6, _TOP - 10, "largest |value|, units of the residual stream", "label"))
    n, width = 1 + max(r["expert"] for r in rows), x(0.8) - x(0)
    for r in rows:
        at = x(layers.index(r["layer"])) + width * ((r["expert"] + 0.5) / n - 0.5)
        name = f"L{r['layer']}{'S' if r.get('is_shared') else 'E'}{r['expert']}"
        shape, kind = (diamond, "super") if "super expert" in r["flags"] else (circle, "dot")
        pieces.append(
            shape(
                at, y(log10(r["score"])), 5 if kind == "super" else 3.2, kind, f"{name}: {r['score']:.2f}; {r['flags']}"
            )
        )
    for layer, value in stream:
        at, level = layers.index(layer), y(log10(value))
        pieces.append(line(x(at - 0.42), level, x(at + 0.42), level, "stream"))
    pieces += [text(x(i), height - 24, f"layer {v}", "tick", "middle") for i, v in enumerate(layers)]
    return figure(WIDTH, height, pieces, "Largest expert outputs by layer")


def _nice(low: float, high: float) -> list[float]:
    """Four or five round values from low to high."""
    span = (high - low) or 1.0  # every score may be zero
    step = 10.0 ** floor(log10(span))
    while span / step < 3:
        step /= 2
    return [round(i * step, 10) for i in range(ceil(low / step), floor(high / step) + 1)]
