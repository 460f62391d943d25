"""How charts look: one colour-blind-safe palette, a title with units, and a download of picture and data under each."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from .literal import visible

# Okabe and Ito's colours, told apart by every kind of colour vision; the rest of a page takes Streamlit's theme
BASE, STEERED, MARK, QUIET = "#0072B2", "#D55E00", "#E69F00", "#999999"
SERIES = (BASE, STEERED, "#009E73", "#CC79A7", MARK, "#56B4E9", "#F0E442", QUIET)
DIVERGING = "PuOr_r"
"""Orange above zero, purple below: scores with a sign, with zero in the middle."""
SEQUENTIAL = "Cividis"
"""Dark to light, even in grey: shares and sizes."""


def ramp(strength: float) -> str:
    """A background from faint (0) to strong (1) on which text of either theme can be read."""
    return f"rgba(0,114,178,{0.06 + 0.56 * strength:.2f})"


def titled(figure: go.Figure, title: str, height: int = 420, **layout: Any) -> go.Figure:
    """The figure with its title and margins. Axis titles, with units, are the caller's."""
    figure.update_layout(
        title={"text": visible(title).replace("<", "\u2039"), "font": {"size": 15}},
        height=height,
        margin={"l": 60, "r": 20, "t": 46, "b": 46},
        colorway=list(SERIES),
        hoverlabel={"font": {"family": "monospace"}},
        **layout,
    )
    return figure


def points(
    x: Any, y: Any, hover: list[str], marker: dict[str, Any], name: str = "", experts: Any = None
) -> go.Scattergl:
    """Experts as points that say `hover` when pointed at; `experts` are their names, which `selected` gives back."""
    return go.Scattergl(
        x=x.to_numpy(),
        y=y.to_numpy(),
        mode="markers",
        name=name or None,
        marker=marker,
        customdata=None if experts is None else experts.to_numpy()[:, None],
        text=np.array(hover),  # of lists Plotly would check every entry
        hovertemplate="%{text}<extra></extra>",
    )


def chart(
    figure: go.Figure,
    key: str,
    data: pd.DataFrame,
    on_select: Callable[[], None] | None = None,
) -> None:
    """Draws a figure; its picture can be saved from the chart's bar, its numbers from the button below.

    `on_select` is called when points are clicked, boxed or lassoed; they are in `selected(key)`.
    """
    options: dict[str, Any] = (
        {} if on_select is None else {"on_select": on_select, "selection_mode": ("points", "box", "lasso")}
    )
    st.plotly_chart(
        figure, key=key, config={"displaylogo": False, "toImageButtonOptions": {"filename": key}}, **options
    )
    st.download_button(
        "Data as CSV",
        partial(as_csv, data),
        f"{key}.csv",
        "text/csv",
        key=f"{key}-csv",
        type="tertiary",
        on_click="ignore",
    )


def as_csv(data: pd.DataFrame) -> str:
    return data.to_csv(index=False)


def selected(key: str) -> list[str]:
    """The names (first entry of `customdata`) of the points selected in the chart `key`, in order, each once."""
    state = st.session_state.get(key) or {}
    points = state["selection"]["points"] if "selection" in state else []
    found = [p["customdata"] for p in points if p.get("customdata")]
    return list(dict.fromkeys(c[0] if isinstance(c, list | tuple) else c for c in found))


def text(value: Any) -> str:
    """Text for a hover label or a tick: Plotly reads a few tags there, so none may begin."""
    return visible(value).replace("<", "\u2039").replace("&", "\uff06")
