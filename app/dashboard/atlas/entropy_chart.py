"""How evenly each layer routes: entropy of its load and of its tokens' weights, beside an even layer's."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ..widgets import BASE, QUIET, STEERED, titled


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
    figure.add_scatter(x=frame["layer"], y=even, name="even load", mode="lines", line={"color": QUIET, "dash": "dot"})
    figure.update_xaxes(title="layer", dtick=1 if len(frame) <= 24 else None)
    figure.update_yaxes(title="entropy, bits", rangemode="tozero")
    return titled(figure, "How evenly each layer routes", 300, legend={"orientation": "h", "y": -0.35})
