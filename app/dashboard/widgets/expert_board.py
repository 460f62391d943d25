"""The board of all experts, layers by experts, with a colour each: clicked, boxed with the mouse, or chosen by keyboard."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import streamlit as st
from plotly.colors import get_colorscale, unlabel_rgb
from streamlit.components.v2 import component

from workbench import ExpertRef, Plan, WorkbenchError

from .literal import visible
from .theme import DIVERGING

GLYPHS: dict[str, str] = {
    "off": "\u00d7",
    "force": "\u2605",
    "mute": "\u25cb",
    "drop": "\u25bd",
    "scale": "\u2195",
    "bias": "\u00b1",
    "replace": "=",
}
"""How an edit looks on the board."""
_HTML = """<div class="board"><div class="scroll"><canvas tabindex="0" role="application"></canvas></div>
<div class="below"><span class="readout" role="status"></span><span>
<button class="fold" type="button"></button><button class="nearer" type="button">Zoom in</button>
<button class="farther" type="button">Zoom out</button>
<button class="picture" type="button">Picture</button><button class="csv" type="button">Data as CSV</button>
</span></div></div>"""
_CSS = """
.board { width: 100%; color: var(--st-text-color); font-family: var(--st-font, sans-serif); }
.scroll { overflow: auto; padding: 2px; }
canvas { display: block; cursor: pointer; touch-action: manipulation; outline: none; border-radius: 4px; }
canvas:focus-visible { box-shadow: 0 0 0 2px var(--st-primary-color); }
.below { display: flex; flex-wrap: wrap; justify-content: space-between; column-gap: 1rem; min-height: 1.5rem;
  font-size: 0.85rem; }
.readout { opacity: 0.75; }
button { font: inherit; color: inherit; background: none; border: 0; padding: 0; margin-right: 1rem; cursor: pointer; }
button:hover, button:focus-visible { text-decoration: underline; }
button:disabled { opacity: 0.4; cursor: default; }
"""
render = component("workbench_board", html=_HTML, css=_CSS, js=Path(__file__).with_name("board.js").read_text("utf-8"))
_FAR = 30.0  # times the median
_HINT = "Click, draw a box, or use the arrow keys and Enter (Shift and arrows: several)."


class Board(NamedTuple):
    """What is on the board.

    rows    layer -> a number per expert, None where there is none
    unit    of these numbers; `palette` is a name of Plotly's
    counts  layer -> how many tokens each number rests on, where that is known
    chosen  the expert that is framed
    middle  the value at the middle of two colours where that is not zero: the load of an even router
    share   of the window's height that the board may take; more layers than fit are drawn smaller, to zoom in or fold
    """

    title: str
    rows: Mapping[int, Sequence[float | None]]
    unit: str
    palette: str
    counts: Mapping[int, Sequence[int]] | None = None
    chosen: ExpertRef | None = None
    hint: str = _HINT
    middle: float | None = None
    share: float = 0.6


def board(shown: Board, plan: Plan, key: str, on_pick: Callable[[list[ExpertRef]], None]) -> None:
    """Draws the board with the plan's edits on it; `on_pick` gets the experts of a click, a box or a key, once."""

    def picked() -> None:
        found = _refs(st.session_state[key].get("picked"), shown)
        if found:
            on_pick(found)

    render(key=key, data=_data(shown, plan, key), on_picked_change=picked)


def scale(shown: Board) -> tuple[float, float]:
    """The values at both ends of the colours: zero in the middle of a palette with signs, else at the low end.

    Where every value is far from zero the scale begins with the least, or all would have one colour. A middle above zero
    lies between zero and its double at least, so that what is nearly even looks so.
    """
    known = [v for row in shown.rows.values() for v in row if v is not None]
    limit = max(map(abs, known), default=0.0) or 1.0
    least = min(known, default=0.0)
    if shown.middle is not None:
        return 0.0, max(2 * shown.middle, limit)
    if shown.palette == DIVERGING:
        return -limit, limit
    return (least if limit / 2 < least < limit else 0.0), limit


def grows_by_factors(shown: Board) -> bool:
    """Whether the colours go by the logarithm: sizes without a sign of which a few are so large that the rest look alike."""
    known = [v for row in shown.rows.values() for v in row if v is not None]
    if shown.palette == DIVERGING or shown.middle is not None or not known or min(known) <= 0:
        return False
    return max(known) > _FAR * median(known)


def _data(shown: Board, plan: Plan, key: str) -> dict[str, Any]:
    logarithmic = grows_by_factors(shown)
    low, high = scale(shown)
    if logarithmic:
        low = min(v for row in shown.rows.values() for v in row if v is not None)
    return {
        "title": visible(shown.title), "unit": visible(shown.unit), "hint": shown.hint, "file": key,
        "layers": list(shown.rows), "values": [list(row) for row in shown.rows.values()],
        "counts": None if shown.counts is None else [list(shown.counts[n]) for n in shown.rows],
        "stops": [[at, [round(c) for c in rgb(colour)]] for at, colour in get_colorscale(shown.palette)],
        "low": low, "high": high, "middle": shown.middle, "log": logarithmic, "share": shown.share, "symbols": GLYPHS,
        "edits": {str(e.expert): e.kind for e in plan.edits if not e.expert.is_shared},
        "chosen": None if shown.chosen is None else str(shown.chosen),
    }  # fmt: skip


def rgb(colour: str) -> tuple[float, ...]:
    if colour.startswith("#"):
        return tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return unlabel_rgb(colour)


def _refs(names: Any, shown: Board) -> list[ExpertRef]:
    """The experts of these names that are on the board: what a browser sends may be anything."""
    found: list[ExpertRef] = []
    for name in names if isinstance(names, list) else []:
        try:
            ref = ExpertRef.parse(str(name))
        except WorkbenchError:
            continue
        if not ref.is_shared and ref.expert < len(shown.rows.get(ref.layer, ())):
            found.append(ref)
    return list(dict.fromkeys(found))
