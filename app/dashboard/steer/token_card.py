"""One generated token: what else could have come, and its experts in every layer, base against steered."""

from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from workbench.answering import StreamedToken

from ..widgets import BASE, STEERED, chart, text, titled, token_text, visible
from .answering import Answering

MOST = 4
"""Experts of a layer that are named at once; of more, the others are folded away."""


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
            st.text(said_first(found))
            st.dataframe(_experts(found, MOST), hide_index=True)
            if any(len(slots) > MOST for token in found.values() for slots in token.routing.values()):
                with st.expander("Every expert of every layer"):
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


# ---- experts: what matters first


def said_first(found: dict[str, StreamedToken]) -> str:
    """The largest weight of the token, and the layer where the two sides chose most differently."""
    side, token = next(reversed(found.items()))
    slots = [(w, f"L{n}E{e}") for n, chosen in token.routing.items() for e, w in chosen]
    if not slots:
        return "The engine told no experts of this token."
    weight, name = max(slots)
    said = f"Largest weight ({side}): {name}, {weight:.2f}."
    return f"{said} {_said_apart(found)}" if len(found) == 2 else said


def _said_apart(found: dict[str, StreamedToken]) -> str:
    apart = {n: len(_new(found, n)) for n in found["steered"].routing}
    total, n = sum(apart.values()), max(apart, key=lambda layer: apart[layer])
    if total:
        return f"Selected beside those of base: {total} experts, most in layer {n} ({apart[n]})."
    before = {(n, e): w for n, slots in found["base"].routing.items() for e, w in slots}
    now = {(n, e): w for n, slots in found["steered"].routing.items() for e, w in slots}
    layer, e = max(now, key=lambda at: abs(now[at] - before.get(at, 0.0)))
    moved = f"{before.get((layer, e), 0.0):.2f} to {now[layer, e]:.2f}"
    return f"The same experts as base; the largest change of a weight: L{layer}E{e}, {moved}."


def _new(found: dict[str, StreamedToken], layer: int) -> list[int]:
    """Experts of the steered side that the base side did not select, the largest weight first."""
    base = {e for e, _ in found["base"].routing.get(layer, ())}
    return [e for e, _ in found["steered"].routing.get(layer, ()) if e not in base]


def _experts(found: dict[str, StreamedToken], most: int | None = None) -> pd.DataFrame:
    """A row a layer, those that changed most first: experts with weights by side, and who came and went.

    `most` of them are named and the others counted; None: all are named.
    """
    layers = next(iter(found.values())).routing
    rows: list[dict[str, Any]] = [
        {"layer": n} | {side: _slots(token, n, most) for side, token in found.items()} | _changed(found, n, most)
        for n in layers
    ]
    apart = len(found) == 2
    return pd.DataFrame(sorted(rows, key=lambda row: -len(_new(found, row["layer"]))) if apart else rows)


def _changed(found: dict[str, StreamedToken], layer: int, most: int | None) -> dict[str, str]:
    if len(found) < 2:
        return {}
    base, steered = found["base"], found["steered"]
    came = [f"+E{e}" for e in _new(found, layer)]
    went = [f"\u2212E{e}" for e in _new({"base": steered, "steered": base}, layer)]
    return {"against base": shortened([*came, *went], most, " ")}


def _slots(token: StreamedToken, layer: int, most: int | None) -> str:
    return shortened([f"E{e} {w:.2f}" for e, w in token.routing.get(layer, ())], most, "  ")


def shortened(words: list[str], most: int | None, between: str) -> str:
    """The first `most` words, and how many there are beside; all of them where most is None."""
    rest = 0 if most is None else len(words) - most
    return between.join(words[:most] + ([f"and {rest} more"] if rest > 0 else []))
