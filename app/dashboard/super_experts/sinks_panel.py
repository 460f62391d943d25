"""The measurement of attention sinks on the page: whom to mute, a button, the chart, and the dose."""

from typing import TYPE_CHECKING, Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from workbench import ExpertRef, Plan

from ..session import View, identity
from ..widgets import BASE, STEERED, chart, titled, visible

if TYPE_CHECKING:
    from probes import ExpertScores

    from .sinks import Sinks


def sinks_panel(view: View, scores: "ExpertScores") -> None:
    """Draws the panel."""
    st.subheader("Attention sinks, with and without muting", divider="gray")
    st.text("Share of attention on the first token. Muting super experts should let it decay where it rests on them.")
    refs = _whom(scores)
    n = st.number_input("Prompts of the store", 1, 64, 8, key="sinks-n")
    assert view.store_path is not None
    key = (view.name, view.anatomy.fingerprint, view.store_name, identity(view.store_path), tuple(refs), int(n))
    if st.button(f"Measure with {', '.join(map(str, refs[:6]))} muted", key="sinks-run", disabled=not refs):
        st.session_state["sinks"] = (key, _measured(view, Plan.mute(refs), int(n)))
    last = st.session_state.get("sinks")
    if last is None or last[0] != key:
        st.text("Not measured yet: the model runs each prompt twice, with eager attention, when you press the button.")
        return
    _draw(last[1])


def _whom(scores: "ExpertScores") -> list[ExpertRef]:
    """The super experts; where there are none, those with the largest values, said so."""
    found = list(scores.flagged("super expert"))
    if found:
        st.text(f"Super experts by this rule: {', '.join(map(str, found))}.")
        return found
    values: Any = scores.frame["score"]
    some = int((values > 0).sum())
    if not some:
        st.text("No expert of this store has a magnitude; capture one with norms.")
        return []
    n = st.number_input("Experts to mute", 1, min(some, 50), min(some, 3), key="sinks-top")
    st.text("No expert is a super expert by this rule: those with the largest values are muted instead.")
    return list(scores.top(int(n)))


def _measured(view: View, plan: Plan, n: int) -> "Sinks":
    from .sinks import measure, prompt_ids

    assert view.store is not None
    prompts, plan = prompt_ids(view.store, n), plan.for_model(view.anatomy).check(view.anatomy)
    bar, ticket, turns = st.progress(0.0, "Waiting for the model ..."), object(), view.machine.turns

    def waiting() -> bool:
        bar.progress(
            0.0, f"Waiting for the model, place {turns.place(ticket) or 0} ..."
        )  # raises when the tab has gone
        return False

    with turns.turn(ticket, waiting):
        found = measure(view.machine.model, prompts, plan, lambda done: _at(bar, done))
    bar.empty()
    return found


def _at(bar: Any, done: float) -> None:
    bar.progress(done, f"Measuring, {done:.0%} ...")


def _draw(found: "Sinks") -> None:
    frame = pd.DataFrame({"layer": found.layers, "base": found.base, "muted": found.muted})
    drawn = go.Figure()
    for column, colour, symbol in (("base", BASE, "circle"), ("muted", STEERED, "diamond")):
        marker, line = {"color": colour, "symbol": symbol}, {"color": colour}
        drawn.add_trace(
            go.Scatter(
                x=frame["layer"], y=100 * frame[column], name=column, mode="lines+markers", marker=marker, line=line
            )
        )
    drawn.update_xaxes(title="layer", type="category")
    drawn.update_yaxes(title="attention on the first token, %", rangemode="tozero")
    chart(
        titled(drawn, "Attention sinks, base against muted", legend={"orientation": "h", "y": -0.2}),
        "sinks-chart",
        frame,
    )
    st.text(
        f"Mean over layers: {found.base.mean():.1%} base, {found.muted.mean():.1%} muted.\n"
        f"Plan: {visible(found.plan)}\nDose: {found.dose}."
    )
