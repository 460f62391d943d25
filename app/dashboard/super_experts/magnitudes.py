"""The largest value that each expert writes, by layer, with the thresholds of a rule; and the residual stream beside it."""

from typing import TYPE_CHECKING, Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from workbench import Store

from ..session import Identity, store_at
from ..widgets import BASE, MARK, QUIET, STEERED, chart, named, points, text, titled

if TYPE_CHECKING:
    from probes import ExpertScores, MassiveRule
    from probes.outputs import Thresholds

_BELOW = {"orientation": "h", "y": -0.2}
_WIDTH = 0.8  # of a layer's column of points


def magnitudes(store: Store, scores: "ExpertScores") -> None:
    """Draws every expert at its layer, on a log scale, with the thresholds."""
    from probes.outputs import thresholds

    found, frame = thresholds(store, scores), named(scores).dropna(subset=["score"])
    chart(magnitude_figure(frame, found), "super-magnitude", frame.drop(columns=["rank"]))
    if not found.limits:
        st.text(f"The rule '{scores.options['rule']}' compares no expert here, so no threshold of its own is drawn.")


def magnitude_figure(frame: Any, found: "Thresholds") -> go.Figure:
    """Points by layer; within a layer from left to right by expert number."""
    drawn = go.Figure()
    is_super = frame["flags"].str.contains("super expert").to_numpy(bool)
    widest = max(1, int(frame["expert"].max()) + 1) if len(frame) else 1  # of all: both kinds share a layer's column
    for rows, name, colour, symbol in (
        (frame[~is_super], "expert", BASE, "circle-open"),
        (frame[is_super], "super expert", STEERED, "diamond"),
    ):
        drawn.add_trace(_experts(rows, widest, name, {"color": colour, "symbol": symbol, "size": 7}))
    for name, limit in found.limits.items():
        drawn.add_trace(_level(limit, f"{name} = {limit:.3g}", frame["layer"]))
    drawn.add_trace(_guards(found))
    drawn.update_xaxes(title="layer (experts from left to right)", dtick=1 if frame["layer"].nunique() <= 24 else None)
    drawn.update_yaxes(title="largest |output| (units of the residual stream)", type="log", dtick="D2")
    return titled(drawn, "Largest output value of every expert", 460, legend=_BELOW)


def _experts(rows: Any, widest: int, name: str, marker: dict[str, Any]) -> go.Scattergl:
    told = rows[["name", "score", "n", "flags"]].itertuples(index=False)
    hover = [f"{name}: {value:.4g}, n {n:,} {text(flags)}" for name, value, n, flags in told]
    across = rows["layer"] + ((rows["expert"] + 0.5) / widest - 0.5) * _WIDTH
    return points(across, rows["score"], hover, marker, name, rows["name"])


def _guards(found: "Thresholds") -> go.Scatter:
    """A short line at ten medians of each layer."""
    x = [v for layer in found.guards for v in (layer - _WIDTH / 2, layer + _WIDTH / 2, None)]
    y = [v for limit in found.guards.values() for v in (limit, limit, None)]
    line = {"color": MARK, "width": 2}
    return go.Scatter(x=x, y=y, mode="lines", name="guard: 10 medians of the layer", line=line, hoverinfo="skip")


def _level(value: float, said: str, layers: Any) -> go.Scatter:
    """A line across the chart (a shape's label would be misplaced on a log axis)."""
    ends = [float(layers.min()) - 0.5, float(layers.max()) + 0.5]
    line = {"dash": "dot", "width": 1.5, "color": QUIET}
    return go.Scatter(
        x=ends,
        y=[value, value],
        mode="lines+text",
        text=[said, ""],
        textposition="top right",
        line=line,
        showlegend=False,
        hoverinfo="skip",
    )


# ---- the residual stream


@st.cache_data(max_entries=32, show_spinner="Reading the residual stream ...")
def residual_by_layer(path: str, now: Identity) -> pd.DataFrame:
    """By layer (-1: the embedding): largest |h| over all tokens, median over tokens of each token's median |h|."""
    store = store_at(path)
    rows: list[tuple[int, float, float]] = []
    for layer in (-1, *range(len(store.anatomy.layers))):
        part: Any = store.table("residual", ["max_abs", "median_abs"], [layer])
        rows.append((layer, float(part["max_abs"].max()), float(part["median_abs"].median())))
    return pd.DataFrame(rows, columns=["layer", "max_abs", "median_abs"])


def residual_figure(frame: pd.DataFrame, rule: "MassiveRule", forming: tuple[int, ...]) -> go.Figure:
    """Both curves on a log scale, what counts as massive, and the layers that form massive activations."""
    drawn = go.Figure()
    for column, name, colour, symbol in (
        ("max_abs", "largest |h| of any token", STEERED, "diamond"),
        ("median_abs", "median |h|", BASE, "circle"),
    ):
        marker, line = {"color": colour, "symbol": symbol}, {"color": colour}
        drawn.add_trace(
            go.Scatter(x=frame["layer"], y=frame[column], name=name, mode="lines+markers", marker=marker, line=line)
        )
    for layer in forming:
        drawn.add_vrect(layer - 0.4, layer + 0.4, fillcolor=MARK, opacity=0.2, line_width=0)
    drawn.add_trace(_level(rule.absolute, f"massive: above {rule.absolute:g}", frame["layer"]))
    drawn.add_trace(
        go.Scatter(
            x=frame["layer"],
            y=rule.ratio * frame["median_abs"],
            name=f"massive: above {rule.ratio:g} medians",
            mode="lines",
            line={"dash": "dash", "width": 1.5, "color": QUIET},
        )
    )
    drawn.update_xaxes(title="after layer (-1: the embedding)", dtick=1 if len(frame) <= 24 else None)
    drawn.update_yaxes(title="|h| (units of the residual stream)", type="log", dtick="D2")
    return titled(drawn, "Massive activations along the residual stream", legend=_BELOW)
