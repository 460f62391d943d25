"""Every ranking that a store allows, side by side: which of them say the same, and why others cannot be asked."""

from typing import TYPE_CHECKING, Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from ..questions import Offer
from ..session import Identity, View, identity, store_at
from ..widgets import DIVERGING, chart, text, titled, visible

if TYPE_CHECKING:
    from probes.agreement import Agreement

NONE = "none: leave out the probes that compare classes"


def side_by_side(view: View, offered: Offer) -> None:
    """Draws the correlations of all rankings, once they were asked for."""
    assert view.store_path is not None
    with st.expander("All rankings side by side"):
        st.text("Every ranking that this store allows, by its defaults, and Spearman's rank correlation of each two.")
        target = st.selectbox("Class to find", [NONE, *offered.classes], key="all-target", format_func=visible)
        if not st.toggle("Rank in every way", False, key="all-run", help="Takes a while on a large store."):
            return
        path = str(view.store_path)
        _drawn(_agreement(path, identity(view.store_path), None if target == NONE else target))


@st.cache_resource(max_entries=8, show_spinner="Ranking in every way ...", show_time=True)
def _agreement(path: str, now: Identity, target: str | None) -> "Agreement":
    from probes.agreement import agreement

    return agreement(store_at(path), target)


def _drawn(found: "Agreement") -> None:
    matrix = found.matrix
    chart(_figure(matrix), "all-rankings", found.pairs)
    rows = [(n, ", ".join(group)) for n, group in enumerate(found.clusters, 1)]
    st.dataframe(pd.DataFrame(rows, columns=["cluster", "rankings that say the same"]), hide_index=True)
    st.text(
        f"A cluster joins rankings whose mean correlation is {found.cut:g} or more; that they agree does not say that they are "
        f"right."
    )
    for reason, names in found.refused.items():
        st.text(f"• not asked: {', '.join(names)}: {visible(reason)}")


def _figure(matrix: pd.DataFrame) -> go.Figure:
    names, values = list(matrix), matrix.to_numpy()
    shown = [[f"{text(a)}<br>{text(b)}<br>{value:+.2f}" for b, value in zip(names, row, strict=True)]
             for a, row in zip(names, values, strict=True)]  # fmt: skip
    looks: dict[str, Any] = {"colorscale": DIVERGING, "zmin": -1, "zmax": 1, "hoverinfo": "text"}
    drawn = go.Figure(go.Heatmap(z=values, x=names, y=names, text=shown, **looks))
    drawn.update_xaxes(dtick=1, tickangle=45, automargin=True)  # else Plotly leaves out every second name
    drawn.update_yaxes(dtick=1, automargin=True, autorange="reversed")
    return titled(drawn, "Rank correlation of every two, clusters side by side", max(300, 24 * len(names) + 220))
