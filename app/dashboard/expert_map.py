"""A map of layers by experts that fills any width: cells show a number, invisible squares above them take the clicks."""

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from workbench import ExpertRef, Plan

from .edits import SYMBOLS
from .theme import BASE, DIVERGING, MARK, STEERED, titled


def expert_map(frame: Any, unit: str, palette: str, title: str, chosen: ExpertRef, plan: Plan) -> go.Figure:
    """The figure of a frame with layer, expert, score and n: the chosen expert framed, edited ones with their symbol."""
    layers = sorted(set(frame["layer"]))
    row_of = {layer: i for i, layer in enumerate(layers)}
    n = int(frame["expert"].max()) + 1
    figure = go.Figure([_cells(frame, row_of, n, unit, palette), _squares(frame, row_of, n, unit)])
    if chosen.layer in row_of:
        x, y = chosen.expert, row_of[chosen.layer]
        figure.add_shape(type="rect", x0=x - 0.5, x1=x + 0.5, y0=y - 0.5, y1=y + 0.5, line={"color": MARK, "width": 3})
    edits = {e.expert: e.kind for e in plan.edits if e.expert.layer in row_of and not e.expert.is_shared}
    if edits:
        figure.add_trace(_edited(edits, row_of, n))
    figure.update_xaxes(title="expert", range=[-0.5, n - 0.5], showgrid=False, zeroline=False)
    step = -(-len(layers) // 24)
    figure.update_yaxes(title="layer", range=[len(layers) - 0.5, -0.5], showgrid=False, zeroline=False,
                        tickvals=list(range(len(layers)))[::step], ticktext=list(map(str, layers))[::step])  # fmt: skip
    return titled(figure, title, min(900, 140 + 30 * len(layers) if len(layers) < 16 else 160 + 14 * len(layers)),
                  showlegend=False, clickmode="event+select", hovermode="closest")  # fmt: skip


def _cells(frame: pd.DataFrame, row_of: dict[int, int], n: int, unit: str, palette: str) -> go.Heatmap:
    z = np.full((len(row_of), n), np.nan)
    z[[row_of[layer] for layer in frame["layer"]], frame["expert"]] = frame["score"]
    limit = np.nanmax(np.abs(z), initial=0.0) or 1.0
    least = np.nanmin(z, initial=limit)
    # a scale from zero, unless every value is far from it and all would have one colour
    start = -limit if palette == DIVERGING else least if least > limit / 2 else 0.0
    return go.Heatmap(
        z=z, colorscale=palette, zmin=start, zmax=limit,
        xgap=int(n <= 64), ygap=1, hoverinfo="skip", colorbar={"title": {"text": unit, "side": "right"}, "thickness": 12},
    )  # fmt: skip


def _squares(frame: pd.DataFrame, row_of: dict[int, int], n: int, unit: str) -> Any:
    refs = [f"L{layer}E{e}" for layer, e in zip(frame["layer"], frame["expert"], strict=True)]
    said = [
        f"{ref}: " + ("never selected" if s != s else f"{s:.4g}") + f", {unit}; n = {k:,}"
        for ref, s, k in zip(refs, frame["score"], frame["n"], strict=True)
    ]
    return go.Scatter(  # Scattergl took twice as long for 48 x 128 experts in a browser without a graphics card
        x=frame["expert"], y=[row_of[layer] for layer in frame["layer"]], mode="markers",
        customdata=np.array(refs)[:, None], text=np.array(said), hovertemplate="%{text}<extra></extra>",
        marker={"symbol": "square", "size": _size(n), "color": "rgba(0,0,0,0)"},
        selected={"marker": {"opacity": 0}}, unselected={"marker": {"opacity": 0}},
    )  # fmt: skip


def _edited(edits: dict[ExpertRef, str], row_of: dict[int, int], n: int) -> go.Scatter:
    return go.Scatter(
        x=[r.expert for r in edits], y=[row_of[r.layer] for r in edits], mode="markers", hoverinfo="skip",
        marker={"symbol": [SYMBOLS[kind] for kind in edits.values()], "size": max(7, _size(n) * 0.6), "color": STEERED,
                "line": {"width": 1, "color": "white"}},
    )  # fmt: skip


def _size(n: int) -> int:
    return max(6, min(22, 800 // n))


def entropy_chart(frame: pd.DataFrame) -> go.Figure:
    """Entropy of each layer's load and of its tokens' weights, with what an even layer would have."""
    figure = go.Figure()
    lines = (
        ("load_entropy_bits", "the layer's load", BASE),
        ("token_entropy_bits", "a token's weights, mean", STEERED),
    )
    for column, name, colour in lines:
        figure.add_scatter(x=frame["layer"], y=frame[column], name=name, mode="lines+markers", line={"color": colour})
    even = np.log2(frame["n_experts"])
    figure.add_scatter(
        x=frame["layer"], y=even, name="even load", mode="lines", line={"color": "#888888", "dash": "dot"}
    )
    figure.update_xaxes(title="layer", dtick=1 if len(frame) <= 24 else None)
    figure.update_yaxes(title="entropy, bits", rangemode="tozero")
    return titled(figure, "How evenly each layer routes", 300, legend={"orientation": "h", "y": -0.35})
