"""Super experts muted together, alone and beside random groups: the loss and the decay of sinks, each arm as it is measured."""

from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from workbench import ExpertRef, Plan
from workbench.comparison import GivenText, Part, each_part, n_parts

from ..session import View, identity
from ..widgets import BASE, QUIET, STEERED, chart, titled
from .sinks_panel import measuring, prompt_ids

_COLOURS = {"together": STEERED, "bare": QUIET}


def together_panel(view: View, refs: list[ExpertRef], n: int) -> None:
    """Draws the panel: `refs` are muted, on n prompts of the store."""
    st.subheader("Muted together, alone and at random", divider="gray")
    st.text(
        "Several experts may write a massive activation together: then one alone does little, and all of them break the model."
    )
    controls = int(st.number_input("Random groups", 0, 30, 3, key="together-controls"))
    assert view.store_path is not None
    asked = (view.name, view.anatomy.fingerprint, identity(view.store_path), tuple(refs), n, controls)
    if st.button("Measure loss and sinks", key="together-run", disabled=not refs):
        st.session_state["together"] = (asked, measured_parts(view, Plan.mute(refs), n, controls))
    last = st.session_state.get("together")
    if last is None or last[0] != asked:
        st.text("Not measured yet: the model reads the prompts without experts muted, and once more for every arm.")
        return
    frame = last[1]
    chart(together_figure(frame), "together-chart", frame)
    st.text(said(frame))


def measured_parts(view: View, plan: Plan, n: int, controls: int) -> pd.DataFrame:
    """Every arm in turn, shown as soon as it is there."""
    assert view.store is not None
    given = [GivenText(str(i), tuple(ids[:1]), tuple(ids[1:])) for i, ids in enumerate(prompt_ids(view.store, n))]
    found, table, total = list[Part](), st.empty(), n_parts(plan, controls)
    with measuring(view) as bar:
        for part in each_part(view.machine.model, given, plan, controls=controls):
            found.append(part)
            bar.progress(len(found) / total, f"{part.arm}: {part.change:+.3f} nats a token")
            table.dataframe(pd.DataFrame(found), hide_index=True)
    table.empty()
    return pd.DataFrame(found)


def together_figure(frame: pd.DataFrame) -> go.Figure:
    """What each arm costs, in nats a token, from top to bottom."""
    named = [f"{row.arm} {i}" if row.arm.startswith("random") else f"{row.arm}: {row.plan}" for i, row in _rows(frame)]
    lost = ["" if row.decay != row.decay else f"sinks decay by {row.decay:.0%}" for _, row in _rows(frame)]
    colours = [_COLOURS.get(row.arm, QUIET if row.arm.startswith("random") else BASE) for _, row in _rows(frame)]
    drawn = go.Figure(go.Bar(x=frame["change"], y=named, orientation="h", marker={"color": colours}, text=lost))
    drawn.update_yaxes(autorange="reversed")
    drawn.update_xaxes(title="loss beside the bare model, nats a token")
    return titled(drawn, "What muting costs, together, alone and at random")


def _rows(frame: pd.DataFrame) -> list[tuple[int, Any]]:
    return list(enumerate(frame.itertuples(), 1))


def said(frame: pd.DataFrame) -> str:
    """The whole beside the largest of its parts and of the random groups."""
    largest: Any = frame["change"].groupby(frame["arm"].str.partition(",")[0]).max()
    change = {str(arm): float(value) for arm, value in largest.items()}
    others = [f"{arm} at most {change[arm]:+.3f}" for arm in ("alone", "pair", "random") if arm in change]
    return f"Together {change['together']:+.3f} nats a token{''.join(f'; {other}' for other in others)}."
