"""Largest absolute output of every expert by layer, on a log axis, beside the largest value of the residual stream."""

from collections.abc import Mapping, Sequence
from math import ceil, floor, isfinite, log10
from typing import Any

from probes.ranking import SUPER_EXPERT, ref_of

from ....reports import Scale, circle, diamond, figure, line, linear, text

WIDTH, HEIGHT = 720, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 16, 36, 42


def largest_outputs(rows: Sequence[Mapping[str, Any]], residual: Mapping[int, float], label: str) -> str | None:
    """Rows of the table `scores` of a ranking by largest outputs; `residual`: by layer. None where every output is 0."""
    rows = [row for row in rows if isfinite(row["score"]) and row["score"] > 0]
    if not rows:
        return None
    layers = sorted({int(row["layer"]) for row in rows})
    stream = [(layers.index(n), v) for n, v in residual.items() if n in layers and isfinite(v) and v > 0]
    values = [float(row["score"]) for row in rows] + [value for _, value in stream]
    low, high = floor(log10(min(values))), ceil(log10(max(values)))
    y = linear((low, max(high, low + 1)), (HEIGHT - _BOTTOM, _TOP))
    x = linear((-0.5, len(layers) - 0.5), (_LEFT, WIDTH - _RIGHT))
    pieces = [line(_LEFT, y(v), WIDTH - _RIGHT, y(v), "grid") for v in range(low, max(high, low + 1) + 1)]
    pieces += [text(_LEFT - 7, y(v) + 4, f"{10.0**v:g}", "tick", "end") for v in range(low, max(high, low + 1) + 1)]
    pieces.append(text(6, _TOP - 20, "largest |value|, units of the residual stream", "label"))
    n = 1 + max(int(row["expert"]) for row in rows)
    for row in rows:
        beside = 0.8 * ((int(row["expert"]) + 0.5) / n - 0.5)
        pieces.append(_expert(row, x(layers.index(int(row["layer"])) + beside), y))
    pieces += [line(x(at - 0.42), y(log10(v)), x(at + 0.42), y(log10(v)), "stream") for at, v in stream]
    step = max(1, ceil(len(layers) / 12))
    named = [(i, v) for i, v in enumerate(layers) if i % step == 0]
    pieces += [text(x(i), HEIGHT - 24, f"layer {v}", "tick", "middle") for i, v in named]
    return figure(WIDTH, HEIGHT, pieces, label)


def _expert(row: Mapping[str, Any], x: float, y: Scale) -> str:
    tip = "; ".join([f"{ref_of(row)}: {row['score']:.2f}", *([row["flags"]] if row["flags"] else [])])
    at = y(log10(row["score"]))
    return (
        diamond(x, at, 5, "super", tip)
        if SUPER_EXPERT in (row["flags"] or "").split("; ")
        else circle(x, at, 3.2, "dot", tip)
    )
