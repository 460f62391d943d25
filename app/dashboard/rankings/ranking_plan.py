"""From a ranking to a plan: the first n experts, or those selected in a chart, with one of the edits."""

from typing import TYPE_CHECKING, Any

import streamlit as st

from workbench import ExpertRef, Plan

from ..session import View, plan, set_plan
from ..widgets import visible

if TYPE_CHECKING:
    from probes import ExpertScores

# replace needs a vector for each expert, which a ranking does not give
EDITS = ("off", "drop", "mute", "force", "scale", "bias")
_NUMBERED = {"scale": 0.5, "bias": -1.0}
FIRST, LAST, SELECTED = "the first n", "the last n (below zero)", "those selected in the volcano"


def ranking_plan(view: View, scores: "ExpertScores", chosen: list[str]) -> None:
    """Draws the choice and the button; `chosen` are names of experts selected elsewhere on the page."""
    st.text("A score is association. What an edit changes is measured on the page Steer, or by workbench compare.")
    a, b, c, d = st.columns(4)
    whom = a.selectbox("Experts", [FIRST, LAST, SELECTED] if chosen else [FIRST, LAST], key="rank-whom")
    n = int(b.number_input("n", 1, len(scores.frame), min(2, len(scores.frame)), key="rank-n"))
    edit = c.selectbox("Edit", EDITS, key="rank-edit")
    value = d.number_input("by", value=_NUMBERED[edit], key=f"rank-{edit}") if edit in _NUMBERED else None
    joined = st.checkbox("Keep the edits that the plan has", key="rank-join")
    if chosen:
        st.text(f"Selected in the volcano: {', '.join(chosen[:20])}{' ...' if len(chosen) > 20 else ''}")
    if st.button(f"Make the plan: {_label(edit, whom, n, len(chosen))}", type="primary", key="rank-make"):
        made = _made(edit, _refs(scores, whom, n, chosen), value).for_model(view.anatomy)
        set_plan(((plan() | made) if joined else made).check(view.anatomy))
        st.session_state["rank-made"] = plan()
    if plan() and st.session_state.get("rank-made") == plan():
        st.success("The plan is made; ask something under Steer.", icon=":material/check:")
    st.text(f"Plan: {visible(plan())}")


def _label(edit: str, whom: str, n: int, selected: int) -> str:
    where = {FIRST: f"the first {n}", LAST: f"the last {n}", SELECTED: f"the {selected} selected"}[whom]
    return f"{edit} {where}"


def _refs(scores: "ExpertScores", whom: str, n: int, chosen: list[str]) -> Any:
    """The experts, with the fingerprint of the model where they come straight from the ranking."""
    if whom == SELECTED:
        return [ExpertRef.parse(name) for name in chosen]
    return scores.top(n) if whom == FIRST else scores.bottom(n)


def _made(edit: str, refs: Any, value: float | None) -> Plan:
    return getattr(Plan, edit)(refs) if value is None else getattr(Plan, edit)(refs, value)
