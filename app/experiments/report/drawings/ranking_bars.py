"""The first experts of a ranking with their 95 % intervals and p; filled where training tuned the expert."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from probes.ranking import ref_of

from ....reports import Scale, figure, line, linear, rect, round_values, text
from ...recipe import p_value

WIDTH = 720
_LEFT, _RIGHT, _TOP, _BOTTOM, _ROW = 74, 64, 14, 42, 22


def ranking_bars(rows: Sequence[Mapping[str, Any]], tuned: Mapping[str, Sequence[str]], unit: str, label: str) -> str:
    """Rows of the table `scores`, in their order; one without a finite score is left out. tuned: experts by behaviour."""
    rows = [row for row in rows if math.isfinite(row["score"])]
    ends = [0.0, *(v for row in rows for v in (row["score"], row["low"], row["high"]) if math.isfinite(v))]
    low, high = min(ends), max(ends)
    height, x = (
        _TOP + _ROW * len(rows) + _BOTTOM,
        linear((low, high if high > low else low + 1.0), (_LEFT, WIDTH - _RIGHT)),
    )
    marks = round_values(low, high)
    pieces = [line(x(v), _TOP, x(v), height - _BOTTOM, "grid") for v in marks]
    pieces += [text(x(v), height - 26, f"{v:g}".replace("-", "−"), "tick", "middle") for v in marks]
    pieces.append(text((_LEFT + WIDTH - _RIGHT) / 2, height - 6, unit, "label", "middle"))
    for i, row in enumerate(rows):
        kinds = [kind for kind, names in tuned.items() if str(ref_of(row)) in names]
        pieces += _bar(row, kinds, x, _TOP + _ROW * i)
    return figure(WIDTH, height, pieces, label)


def _bar(row: Mapping[str, Any], tuned: Sequence[str], x: Scale, y: float) -> list[str]:
    name, score = str(ref_of(row)), float(row["score"])
    tip = "; ".join([f"{name}: {score:.3f}", *(f"tuned in training: {kind}" for kind in tuned)])
    pieces = [
        text(_LEFT - 8, y + 15, name, "tick", "end"),
        rect(min(x(0), x(score)), y + 4, abs(x(score) - x(0)), _ROW - 8, "bar tuned" if tuned else "bar", tip),
    ]
    if math.isfinite(row["low"]):
        pieces.append(line(x(row["low"]), y + _ROW / 2, x(row["high"]), y + _ROW / 2, "whisker"))
    if math.isfinite(row["p_adjusted"]):
        pieces.append(text(WIDTH - _RIGHT + 8, y + 15, f"p {p_value(row['p_adjusted'])}", "tiny"))
    return pieces
