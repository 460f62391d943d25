"""A ranking by layer and expert: the score as colour, dots on what a plan edits, frames on what training tuned."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from probes.ranking import ref_of

from ....reports import circle, figure, rect, text

WIDTH = 720
_LEFT, _TOP, _RIGHT = 64, 22, 16
TOLD = 2048
"""Up to so many experts each cell has a tip; of more only those that are dotted or framed, or the page grows too large."""


def expert_map(
    rows: Sequence[Mapping[str, Any]], marked: Sequence[str], tuned: Mapping[str, Sequence[str]], unit: str, label: str
) -> str | None:
    """Rows of the table `scores` of one ranking; shared experts are left out, and None where there is no other.

    marked: experts with a dot, as L1E3. tuned: experts with a frame by behaviour; the second behaviour's frame is dashed.
    """
    rows = [row for row in rows if not row["is_shared"]]
    if not rows:
        return None
    n, layers = 1 + max(int(row["expert"]) for row in rows), sorted({int(row["layer"]) for row in rows})
    cell, largest = min(26.0, (WIDTH - _LEFT - _RIGHT) / n), _largest(rows)
    every = 1 if cell > 18 else max(4, math.ceil(24 / cell))
    pieces = [text(_LEFT + cell * (e + 0.5), _TOP - 6, e, "tiny", "middle") for e in range(0, n, every)]
    step = max(1, math.ceil(11 / cell))
    pieces += [
        text(_LEFT - 8, _TOP + cell * (i + 0.5) + 4, f"layer {v}", "tick", "end")
        for i, v in enumerate(layers)
        if i % step == 0
    ]
    frames = {name: (kind, i) for i, (kind, names) in enumerate(tuned.items()) for name in names}
    for row in rows:
        name, at = str(ref_of(row)), (_LEFT + cell * int(row["expert"]), _TOP + cell * layers.index(int(row["layer"])))
        is_told = len(rows) <= TOLD or name in frames or name in marked
        pieces.append(_cell(row, at, cell, largest, _tip(row, frames.get(name)) if is_told else ""))
        if name in frames:
            pieces.append(rect(at[0] + 1.5, at[1] + 1.5, cell - 3, cell - 3, _frame(frames[name][1])))
        if name in marked:
            pieces.append(circle(at[0] + cell / 2, at[1] + cell / 2, cell / 6, "mark"))
    bar = _TOP + cell * len(layers) + 18
    return figure(WIDTH, int(bar + 30), [*pieces, *_colour_bar(_LEFT, bar, largest, unit)], label)


def _largest(rows: Sequence[Mapping[str, Any]]) -> float:
    return max((abs(row["score"]) for row in rows if _known(row["score"])), default=0.0) or 1.0


def _known(score: Any) -> bool:
    return score is not None and math.isfinite(score)


def _cell(row: Mapping[str, Any], at: tuple[float, float], cell: float, largest: float, tip: str) -> str:
    score = row["score"]
    kind, share = ("pos" if score > 0 else "neg", abs(score) / largest) if _known(score) else ("nothing", 1.0)
    return rect(at[0] + 0.5, at[1] + 0.5, cell - 1, cell - 1, f"cell {kind}", tip, share)


def _tip(row: Mapping[str, Any], tuned: tuple[str, int] | None) -> str:
    score = f"{row['score']:+.4f}, {int(row['n'])} tokens" if _known(row["score"]) else "no score"
    more = [*([f"tuned in training: {tuned[0]}"] if tuned else []), *([row["flags"]] if row["flags"] else [])]
    return "; ".join([f"{ref_of(row)}: {score}", *more])


def _frame(number: int) -> str:
    return "frame" if number == 0 else "frame dashed"


def _colour_bar(x: float, y: float, largest: float, unit: str) -> list[str]:
    steps = [i / 4 for i in range(-4, 5)]
    boxes = [rect(x + 18 * i, y, 18, 10, f"cell {'pos' if v > 0 else 'neg'}", "", abs(v)) for i, v in enumerate(steps)]
    ends = [
        text(x, y + 23, f"{-largest:.2g}".replace("-", "−"), "tiny"),
        text(x + 162, y + 23, f"{largest:+.2g}", "tiny", "end"),
    ]
    return [*boxes, *ends, text(x + 172, y + 9, unit, "tick")]
