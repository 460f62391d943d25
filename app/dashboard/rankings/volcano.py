"""Score against p-value: which experts stand out, and how small the p-values can be at all."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from probes.catalogue import RANKERS

from ..widgets import BASE, QUIET, STEERED, chart, named, points, text, titled, visible

if TYPE_CHECKING:
    from collections.abc import Callable

    from probes import ExpertScores

ALPHA = 0.05
KEY = "volcano"
# in Plotly's select mode Streamlit passes on boxes but no clicks; so clicks it is, and boxes by the chart's own buttons
_CLICKS: dict[str, Any] = {"dragmode": "pan", "clickmode": "event+select"}
# colour and symbol say the same: nobody has to tell the colours apart
_GROUPS = (
    ("p adjusted below 0.05", STEERED, "diamond", 9),
    ("only its own p below 0.05", BASE, "circle", 7),
    ("neither", QUIET, "circle-open", 6),
)


def volcano(scores: "ExpertScores", on_select: "Callable[[], None]") -> None:
    """Draws the plot, or says why there is none. Points can be clicked and boxed: `theme.selected(KEY)` names them."""
    frame = named(scores).dropna(subset=["p", "score"])
    if frame.empty:
        said = [visible(note.removeprefix("no p-value: ")) for note in scores.notes if "no p-value" in note]
        st.text(f"{scores.method} has no p-values to draw" + (f": {said[0]}." if said else ": ask for permutations."))
        return
    chart(figure(scores, frame), KEY, _data(frame), on_select)
    st.text(_said(scores, frame))


def smallest_p(scores: "ExpertScores") -> float | None:
    """One over permutations plus one: no relabelling test can say less."""
    n = scores.options.get("n_permutations")
    return 1 / (int(n) + 1) if n else None


def figure(scores: "ExpertScores", frame: Any) -> go.Figure:
    """The volcano of rows that have a p-value."""
    drawn = go.Figure()
    for (name, colour, symbol, size), rows in zip(_GROUPS, _grouped(frame), strict=True):
        drawn.add_trace(_points(rows, name, {"color": colour, "symbol": symbol, "size": size}))
    floor = smallest_p(scores)
    if floor is not None:
        _line(drawn, floor, f"smallest p of {scores.options['n_permutations']:,} permutations")
    _line(drawn, ALPHA, "p = 0.05")
    drawn.update_xaxes(title=f"score{_unit(scores)} (association)", zeroline=True)
    drawn.update_yaxes(title="−log10 p (larger: rarer by chance)", rangemode="tozero")
    return titled(drawn, f"{scores.method}: score against p-value", legend={"orientation": "h", "y": -0.2}, **_CLICKS)


def _unit(scores: "ExpertScores") -> str:
    probe = RANKERS.get(scores.method)
    return f", {text(probe.unit_of(scores.options))}" if probe else ""


def _grouped(frame: Any) -> tuple[pd.DataFrame, ...]:
    adjusted, own = frame["p_adjusted"] < ALPHA, frame["p"] < ALPHA
    return frame[adjusted], frame[own & ~adjusted], frame[~own & ~adjusted]


def _points(rows: Any, name: str, marker: dict[str, object]) -> go.Scattergl:
    hover = [
        f"{name} score {score:.4g}<br>p {p:.3g}, adjusted {adjusted:.3g}<br>n {n:,} {text(flags)}"
        for name, score, p, adjusted, n, flags in _data(rows).itertuples(index=False)
    ]
    return points(rows["score"], -np.log10(rows["p"]), hover, marker, name, rows["name"])


def _line(drawn: go.Figure, p: float, said: str) -> None:
    drawn.add_hline(-np.log10(p), line={"dash": "dot", "width": 1, "color": QUIET}, annotation={"text": said})


def _said(scores: "ExpertScores", frame: Any) -> str:
    passed, floor = int((frame["p_adjusted"] < ALPHA).sum()), smallest_p(scores)
    least = (
        "" if floor is None else f" With {scores.options['n_permutations']:,} permutations no p is below {floor:.2g}."
    )
    best = frame["p_adjusted"].min()
    doubt = "" if passed else f" The smallest is {best:.2g}, so this ranking may be chance alone."
    return f"{passed} of {len(frame):,} experts have p adjusted below {ALPHA}.{doubt}{least}"


def _data(frame: Any) -> pd.DataFrame:
    return frame[["name", "score", "p", "p_adjusted", "n", "flags"]]
