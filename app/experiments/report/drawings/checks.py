"""Every share before and after, on one axis from 0 to 100 %: without the plan, with it, and under every random draw."""

from collections.abc import Sequence

from ....reports import Scale, circle, diamond, figure, line, linear, text
from ..headline import Check

WIDTH = 720
_LEFT, _RIGHT, _TOP, _BOTTOM, _ROW = 250, 36, 14, 42, 26
_QUARTERS = (0, 25, 50, 75, 100)


def checks_chart(checks: Sequence[Check], chosen: int, label: str) -> str:
    """One row for each check (shares from 0 to 1); `chosen` is the plan's number in the checks' levels."""
    height = _TOP + _ROW * len(checks) + _BOTTOM
    x = linear((0, 100), (_LEFT, WIDTH - _RIGHT))
    pieces = [line(x(v), _TOP, x(v), height - _BOTTOM, "grid") for v in _QUARTERS]
    pieces += [text(x(v), height - 26, f"{v} %", "tick", "middle") for v in _QUARTERS]
    pieces.append(text((_LEFT + WIDTH - _RIGHT) / 2, height - 6, "share of prompts", "label", "middle"))
    for i, check in enumerate(checks):
        pieces += _row(check, chosen, lambda share: x(100 * share), _TOP + _ROW * (i + 0.5))
    return figure(WIDTH, height, pieces, label)


def _row(check: Check, chosen: int, x: Scale, y: float) -> list[str]:
    after = check.levels[chosen]
    pieces = [text(_LEFT - 12, y + 4, check.name, "tick", "end"), line(x(check.base), y, x(after), y, "plan-line")]
    pieces += [diamond(x(share), y + 7, 3.5, "random", f"random: {share:.1%}") for share in check.draws[chosen]]
    pieces.append(circle(x(check.base), y, 6, "hollow", f"{check.name}: {check.base:.1%} without the plan"))
    return [*pieces, circle(x(after), y, 4.5, "plan", f"{check.name}: {after:.1%} with it")]
