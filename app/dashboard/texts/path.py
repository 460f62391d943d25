"""One token's way through the layers: its experts in each, as a table, a chart and a Sankey diagram."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from ..widgets import BASE, MARK, QUIET, titled
from .trace import Trace

MOST_LAYERS, MOST_SLOTS = 12, 4


def path_table(trace: Trace, position: int) -> pd.DataFrame:
    """layer, rank (1: largest weight), expert, weight, output_l2, output_max_abs; one row a slot."""
    rows = [
        (layer, rank, e, w, l2, most)
        for layer in trace.layers
        for rank, (e, w, l2, most) in enumerate(trace.at(layer, position), start=1)
    ]
    frame = pd.DataFrame(rows, columns=["layer", "rank", "expert", "weight", "output_l2", "output_max_abs"])
    empty = [name for i, name in ((4, "output_l2"), (5, "output_max_abs")) if all(row[i] != row[i] for row in rows)]
    return frame.drop(columns=empty)


def expert_chart(table: Any, layer: int, n_experts: int) -> go.Figure:
    """The token's experts in every layer, larger with more weight; the layer looked at in another colour.

    Where a layer selects more than `MOST_SLOTS`, those with the largest weights, and the others as small grey points.
    """
    share = table["weight"] / table["weight"].max()
    first, rest = (table["rank"] <= MOST_SLOTS), (table["rank"] > MOST_SLOTS)
    colours = [MARK if n == layer else BASE for n in table["layer"][first]]
    figure = go.Figure()
    if rest.any():
        figure.add_trace(_selected(table[rest], {"size": 3, "color": QUIET}, "others"))
    figure.add_trace(
        _selected(table[first], {"size": 6 + 16 * share[first], "color": colours}, f"the first {MOST_SLOTS}")
    )
    figure.update_xaxes(title="layer", dtick=1 if len(set(table["layer"])) <= 24 else None)
    figure.update_yaxes(title="expert", range=[-1, n_experts])
    return titled(figure, "Its experts by layer (size: routing weight)", 320, showlegend=False)


def _selected(rows: Any, marker: dict[str, Any], name: str) -> go.Scatter:
    said = [f"L{n}E{e}: weight {w:.3f}" for n, e, w in zip(rows["layer"], rows["expert"], rows["weight"], strict=True)]
    return go.Scatter(
        x=rows["layer"], y=rows["expert"], mode="markers", marker=marker, name=name, text=said,
        hovertemplate="%{text}<extra></extra>",
    )  # fmt: skip


def share_shown(table: Any) -> float:
    """The share of the token's weight that its first `MOST_SLOTS` experts have, mean over the layers."""
    first: Any = table["weight"].where(table["rank"] <= MOST_SLOTS, 0.0).groupby(table["layer"]).sum()
    return float((first / table.groupby("layer")["weight"].sum()).mean())


def shown_layers(layers: Sequence[int], layer: int) -> list[int]:
    """At most a dozen layers, with the one looked at in the middle where there are more."""
    start = max(0, min(list(layers).index(layer) - MOST_LAYERS // 2, len(layers) - MOST_LAYERS))
    return list(layers[start : start + MOST_LAYERS])


def path_links(table: pd.DataFrame, layers: Sequence[int]) -> pd.DataFrame:
    """from, to (experts of neighbouring layers), share: the product of both experts' shares of their token's weight."""
    shares = {n: shares_of(table, n) for n in layers}
    rows = [
        (f"L{a}E{e}", f"L{b}E{f}", s * t)
        for a, b in pairwise(layers)
        for e, s in shares[a].items()
        for f, t in shares[b].items()
    ]
    return pd.DataFrame(rows, columns=["from", "to", "share"])


def shares_of(table: Any, layer: int) -> dict[int, float]:
    part = table[(table["layer"] == layer) & (table["rank"] <= MOST_SLOTS)]
    total = float(part["weight"].sum()) or 1.0
    return {int(e): float(w) / total for e, w in zip(part["expert"], part["weight"], strict=True)}


def sankey(links: pd.DataFrame, layer: int, title: str) -> go.Figure:
    """The path: a bar per expert, as high as its share of the token's weight in that layer."""
    names = list(dict.fromkeys([*links["from"], *links["to"]]))
    number = {name: i for i, name in enumerate(names)}
    ends = {side: [number[name] for name in links[of]] for side, of in (("source", "from"), ("target", "to"))}
    colours = [MARK if name.startswith(f"L{layer}E") else BASE for name in names]
    figure = go.Figure(
        go.Sankey(
            node={"label": names, "color": colours, "pad": 12, "thickness": 14,
                  "hovertemplate": "%{label}: %{value:.1%} of the weight shown<extra></extra>"},
            link={**ends, "value": links["share"], "color": f"{QUIET}59",
                  "hovertemplate": "%{source.label} to %{target.label}: %{value:.1%}<extra></extra>"},
        )
    )  # fmt: skip
    return titled(figure, title, 420)
