"""One generated token: what else could have come, and its experts in every layer, base against steered."""

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from workbench.answering import StreamedToken

from ..widgets import BASE, STEERED, chart, text, titled, token_text, visible
from .answering import Answering


def token_card(asked: list[Answering]) -> None:
    """The card of the token that was clicked, if one was."""
    at = st.session_state.get("token")
    one = None if at is None else next((a for a in asked if a.number == at[0]), None)
    if at is None or one is None:
        return
    _, side, i = at
    found = {name: tokens[i] for name in ("base", "steered") if i < len(tokens := one.tokens(name))}
    if side not in found:
        return
    with st.container(border=True):
        left, right = st.columns([5, 1], vertical_alignment="center")
        left.text(f"Token {i + 1} of the {side} answer: {token_text(found[side].chosen.text)}")
        right.button("Close", key="close-token", on_click=close, width="stretch")
        if one.plan and parted_before(one, i):
            st.caption("The answers had already parted before this token, so both sides read different text here.")
        chances, experts = st.columns(2)
        with chances:
            chart(_chances(found), "alternatives", _chance_table(found))
        with experts:
            st.caption("Experts that produced this token, with their weights, the strongest first")
            st.dataframe(_experts(found), hide_index=True)


def close() -> None:
    st.session_state.token = None


def parted_before(one: Answering, i: int) -> bool:
    ids = [[t.chosen.id for t in one.tokens(side)[:i]] for side in ("base", "steered")]
    return ids[0] != ids[1]


def _chance_table(found: dict[str, StreamedToken]) -> pd.DataFrame:
    """One row per alternative of either side; empty where it is not among a side's likeliest."""
    rows: dict[int, dict[str, object]] = {}
    for side, token in found.items():
        for candidate in token.alternatives:
            rows.setdefault(candidate.id, {"token": visible(candidate.text), "id": candidate.id})[side] = (
                candidate.probability
            )
    return pd.DataFrame(list(rows.values()))


def _chances(found: dict[str, StreamedToken]) -> go.Figure:
    table = _chance_table(found)
    names = [f"{text(token_text(str(t)))} ({i})" for t, i in zip(table["token"], table["id"], strict=True)]
    figure = go.Figure()
    for side, colour in (("base", BASE), ("steered", STEERED)):
        if side in table:
            figure.add_bar(y=names, x=100 * table[side], name=side, orientation="h", marker_color=colour)
    figure.update_xaxes(title="probability, %", range=[0, 100])
    figure.update_yaxes(autorange="reversed", title="token (id)")
    return titled(
        figure,
        "What else could have come",
        150 + 34 * len(names),
        barmode="group",
        legend={"orientation": "h", "y": -0.22},
    )


def _experts(found: dict[str, StreamedToken]) -> pd.DataFrame:
    layers = next(iter(found.values())).routing
    rows = [{"layer": n} | {side: _slots(token, n) for side, token in found.items()} for n in layers]
    return pd.DataFrame(rows)


def _slots(token: StreamedToken, layer: int) -> str:
    return "  ".join(f"E{e} {w:.2f}" for e, w in token.routing.get(layer, ()))
