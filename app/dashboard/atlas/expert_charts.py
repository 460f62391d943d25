"""The charts of an expert's card: where it is selected, with whom, and how large its outputs are."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from workbench import ExpertRef

from ..widgets import BASE, QUIET, STEERED, titled

_BELOW = {"orientation": "h", "y": -0.3}


def position_chart(ref: ExpertRef, frame: pd.DataFrame, even: float) -> go.Figure:
    """Share selected by position, over how many tokens there are."""
    figure = go.Figure()
    figure.add_bar(x=frame["position"], y=frame["n"], name="tokens (n)", marker_color=QUIET, opacity=0.35, yaxis="y2")
    figure.add_scatter(
        x=frame["position"], y=100 * frame["share"], name=str(ref), mode="lines+markers", line={"color": BASE}
    )
    figure.add_hline(y=100 * even, line={"dash": "dot", "color": "#888888"})
    figure.update_xaxes(title="position in the sequence")
    figure.update_yaxes(title="tokens that select it, %", rangemode="tozero")
    figure.update_layout(
        yaxis2={
            "title": "tokens (n)",
            "overlaying": "y",
            "side": "right",
            "showgrid": False,
            "rangemode": "tozero",
            "tickmode": "auto",
            "tickformat": "~s",
        }
    )
    return titled(figure, f"{ref} over positions (dotted: even routing)", 300, legend=_BELOW)


def role_chart(ref: ExpertRef, frame: pd.DataFrame, even: float) -> go.Figure:
    """Share selected by role, with n."""
    names = [f"{tokens}, n = {n:,}" for tokens, n in zip(frame["tokens"], frame["n"], strict=True)]
    figure = go.Figure(go.Bar(y=names, x=100 * frame["share"], orientation="h", marker_color=BASE))
    figure.add_vline(x=100 * even, line={"dash": "dot", "color": "#888888"})
    figure.update_xaxes(title="tokens that select it, %")
    figure.update_yaxes(autorange="reversed", automargin=True, title="role of the token")
    return titled(figure, f"{ref} over roles (dotted: even routing)", 130 + 26 * len(frame))


def partner_chart(ref: ExpertRef, frame: pd.DataFrame) -> go.Figure:
    """Who is selected with the expert, against how often each is selected anyway."""
    names = [f"E{e}" for e in frame["expert"]]
    figure = go.Figure()
    figure.add_bar(x=names, y=100 * frame["given"], name=f"of {ref}'s tokens", marker_color=STEERED)
    figure.add_bar(x=names, y=100 * frame["alone"], name="of all tokens", marker_color=QUIET)
    figure.update_xaxes(title=f"other expert of layer {ref.layer}", type="category")
    figure.update_yaxes(title="tokens that select it, %")
    return titled(figure, f"Selected together with {ref}", 300, barmode="group", legend=_BELOW)


def magnitude_table(own: np.ndarray, others: np.ndarray) -> pd.DataFrame:
    """from, to (edges of bins that grow by a factor), share of the expert's slots and of the layer's other slots."""
    seen = np.concatenate([own, others])
    low, high = max(float(seen[seen > 0].min(initial=np.inf)), 1e-12), float(seen.max(initial=0))
    edges = np.geomspace(low, max(high, low) * 1.0001, 41) if np.isfinite(low) else np.array([0.0, 1.0])
    shares = [np.histogram(x, edges)[0] / max(1, len(x)) for x in (own, others)]
    return pd.DataFrame({"from": edges[:-1], "to": edges[1:], "expert": shares[0], "others": shares[1]})


def magnitude_chart(ref: ExpertRef, frame: pd.DataFrame, what: str) -> go.Figure:
    """The distribution of one measure of the expert's outputs against the layer's other experts."""
    figure = go.Figure()
    middle = np.sqrt(frame["from"] * frame["to"])
    for column, name, colour in (("others", "the layer's other experts", QUIET), ("expert", str(ref), BASE)):
        figure.add_scatter(x=middle, y=100 * frame[column], name=name, mode="lines", fill="tozeroy",
                           line={"color": colour, "shape": "hvh"})  # fmt: skip
    figure.update_xaxes(title=f"{what} of an output, before its routing weight (log scale)", type="log")
    figure.update_yaxes(title="slots, %", rangemode="tozero")
    return titled(figure, f"Output magnitude of {ref}", 300, legend=_BELOW)
