"""The switchboard: every expert of every layer as a square that can be clicked or boxed."""

from collections.abc import Callable

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from workbench import ExpertRef, Plan
from workbench.anatomy import Anatomy

from .colours import Colouring
from .edits import SYMBOLS
from .theme import STEERED, chart, selected, titled

_WEBGL_ABOVE = 1500  # so many squares are drawn faster by the graphics card


def switchboard(
    anatomy: Anatomy, plan: Plan, colours: Colouring, title: str, on_pick: Callable[[list[ExpertRef]], None]
) -> None:
    """Draws the board; `on_pick` gets the experts of a click or a box, once."""
    turn = st.session_state.setdefault("board", 0)
    key = f"switchboard-{turn}"

    def picked() -> None:
        names = selected(key)
        if names:
            st.session_state.board = turn + 1  # another key: the next click on the same square is a new one
            on_pick([ExpertRef.parse(name) for name in names])

    chart(board(anatomy, plan, colours, title), key, _table(anatomy, plan, colours), picked)


def board(anatomy: Anatomy, plan: Plan, colours: Colouring, title: str) -> go.Figure:
    """The figure: one row a layer, one column an expert; edited experts have a shape and a frame of their own."""
    refs = anatomy.refs()
    kinds = {e.expert: e.kind for e in plan.edits}
    values = [colours.values.get(ref) for ref in refs]
    known = [v for v in values if v is not None]
    limit = max((abs(v) for v in known), default=1.0) or 1.0
    n, rows = max(x.n_experts for x in anatomy.layers), len(anatomy.moe_layers)
    size = max(5, min(20, 900 // n))
    row_of = {layer: i for i, layer in enumerate(anatomy.moe_layers)}
    trace = go.Scattergl if len(refs) > _WEBGL_ABOVE else go.Scatter
    figure = go.Figure(
        trace(
            x=[ref.expert for ref in refs],
            y=[row_of[ref.layer] for ref in refs],
            mode="markers",
            customdata=[[str(ref)] for ref in refs],
            text=[_tip(ref, kinds.get(ref), value, colours.unit) for ref, value in zip(refs, values, strict=True)],
            hovertemplate="%{text}<extra></extra>",
            unselected={"marker": {"opacity": 1}},
            marker={
                "symbol": [SYMBOLS.get(kinds.get(ref, ""), "square") for ref in refs],
                "size": [size * 1.2 if ref in kinds else size for ref in refs],
                "color": [0.0 if v is None else v for v in values],
                "opacity": [0.25 if v is None and ref not in kinds else 1 for ref, v in zip(refs, values, strict=True)],
                "colorscale": colours.palette,
                "cmin": -limit if min(known, default=0) < 0 else 0,
                "cmax": limit,
                "line": {
                    "width": [2.5 if ref in kinds else 0.5 for ref in refs],
                    "color": [STEERED if ref in kinds else "#88888888" for ref in refs],
                },
                "colorbar": {"title": {"text": colours.unit, "side": "right"}, "thickness": 12},
            },
        )
    )
    figure.update_xaxes(title="expert", range=[-0.8, n - 0.2], zeroline=False, showgrid=False)
    figure.update_yaxes(
        title="layer",
        tickvals=list(row_of.values()),
        ticktext=list(map(str, row_of)),
        range=[rows - 0.4, -0.6],
        zeroline=False,
        showgrid=False,
    )
    return titled(
        figure,
        title,
        height=min(900, 130 + rows * max(24, int(size * 1.5))),
        dragmode="select",
        clickmode="event+select",
    )


def _tip(ref: ExpertRef, kind: str | None, value: float | None, unit: str) -> str:
    said = "no value" if value is None else f"{value:.4g} ({unit})"
    return f"{ref}: {said}" + (f"; {kind}" if kind else "")


def _table(anatomy: Anatomy, plan: Plan, colours: Colouring) -> pd.DataFrame:
    kinds = {e.expert: e.kind for e in plan.edits}
    rows = [(r.layer, r.expert, colours.values.get(r), kinds.get(r, "")) for r in anatomy.refs()]
    return pd.DataFrame(rows, columns=["layer", "expert", colours.unit, "edit"])
