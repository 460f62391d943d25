"""The switchboard: every expert of every layer as a square that can be clicked or boxed."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from workbench import ExpertRef, Plan
from workbench.anatomy import Anatomy

from .colours import Colouring
from .edits import SYMBOLS
from .theme import QUIET, STEERED, chart, selected, titled

_WEBGL_ABOVE = 1500  # so many squares are drawn faster by the graphics card


def switchboard(
    anatomy: Anatomy, plan: Plan, colours: Colouring, title: str, on_pick: Callable[[list[ExpertRef]], None]
) -> None:
    """Draws the board; `on_pick` gets the experts of a click or a box, once."""
    turn = st.session_state.setdefault("board", 0)
    key = f"switchboard-{turn}"

    def picked() -> None:
        names = selected(key)
        # a page that runs a fragment meanwhile tells the old board's last click once more
        if names and st.session_state.board == turn:
            st.session_state.board = turn + 1  # another key: the next click on the same square is a new one
            on_pick([ExpertRef.parse(name) for name in names])

    chart(board(anatomy, plan, colours, title), key, _table(anatomy, plan, colours), picked)


def board(anatomy: Anatomy, plan: Plan, colours: Colouring, title: str) -> go.Figure:
    """The figure: one row a layer, one column an expert; edited experts have a shape and a frame of their own."""
    n, rows = max(x.n_experts for x in anatomy.layers), len(anatomy.moe_layers)
    size = max(5, min(20, 900 // n))
    figure = go.Figure([_squares(anatomy, colours, size), *_edited(anatomy, plan, colours, size)])
    figure.update_xaxes(title="expert", range=[-0.8, n - 0.2], zeroline=False, showgrid=False)
    layers = list(range(rows)), list(map(str, anatomy.moe_layers))
    shown = slice(None, None, 1 + rows // 40)
    figure.update_yaxes(
        title="layer",
        tickvals=layers[0][shown],
        ticktext=layers[1][shown],
        range=[rows - 0.4, -0.6],
        zeroline=False,
        showgrid=False,
    )
    height = min(900, 130 + rows * max(24, int(size * 1.5)))
    # in Plotly's select mode Streamlit passes on boxes but no clicks; so clicks it is, and boxes by the chart's own buttons
    figure.update_xaxes(fixedrange=True).update_yaxes(fixedrange=True)
    return titled(figure, title, height, dragmode="pan", clickmode="event+select", showlegend=False)


def _squares(anatomy: Anatomy, colours: Colouring, size: int) -> go.Scatter | go.Scattergl:
    """Every expert. Arrays, not lists: of thousands of squares Plotly would check every entry."""
    refs, at = anatomy.refs(), {layer: i for i, layer in enumerate(anatomy.moe_layers)}
    values = np.array([colours.values.get(ref, np.nan) for ref in refs])
    limit = float(np.nanmax(np.abs(values), initial=0)) or 1.0
    trace = go.Scattergl if len(refs) > _WEBGL_ABOVE else go.Scatter
    return trace(
        x=np.array([ref.expert for ref in refs]),
        y=np.array([at[ref.layer] for ref in refs]),
        mode="markers",
        customdata=np.array([[str(ref)] for ref in refs]),
        hovertext=np.array([_tip(ref, value, colours.unit) for ref, value in zip(refs, values, strict=True)]),
        hoverinfo="text",
        unselected={"marker": {"opacity": 1}},
        marker={
            "symbol": "square",
            "size": size,
            "color": np.nan_to_num(values),
            "opacity": np.where(np.isnan(values), 0.25, 1),
            "colorscale": colours.palette,
            "cmin": -limit if np.nanmin(values, initial=0) < 0 else 0,
            "cmax": limit,
            "line": {"width": 0.5, "color": QUIET},
            "colorbar": {"title": {"text": colours.unit, "side": "right"}, "thickness": 12},
        },
    )


def _edited(anatomy: Anatomy, plan: Plan, colours: Colouring, size: int) -> list[go.Scatter]:
    """The edited experts again, on top, each with the shape of its edit; a click on them arrives as well."""
    at = {layer: i for i, layer in enumerate(anatomy.moe_layers)}
    kinds = {e.expert: e for e in plan.edits if not e.expert.is_shared and e.expert.layer in at}
    if not kinds:
        return []
    return [
        go.Scatter(
            x=[ref.expert for ref in kinds],
            y=[at[ref.layer] for ref in kinds],
            mode="markers",
            customdata=[[str(ref)] for ref in kinds],
            hovertext=[f"{_tip(r, colours.values.get(r, np.nan), colours.unit)}; {e.kind}" for r, e in kinds.items()],
            hoverinfo="text",
            unselected={"marker": {"opacity": 1}},
            marker={
                "symbol": [SYMBOLS[e.kind] for e in kinds.values()],
                "size": size * 1.1,
                "color": STEERED,
                "line": {"width": 2, "color": "black"},
            },
        )
    ]


def _tip(ref: ExpertRef, value: float, unit: str) -> str:
    return f"{ref}: no value" if np.isnan(value) else f"{ref}: {value:.4g} ({unit})"


def _table(anatomy: Anatomy, plan: Plan, colours: Colouring) -> pd.DataFrame:
    kinds = {e.expert: e.kind for e in plan.edits}
    rows = [(r.layer, r.expert, colours.values.get(r), kinds.get(r, "")) for r in anatomy.refs()]
    return pd.DataFrame(rows, columns=["layer", "expert", colours.unit, "edit"])
