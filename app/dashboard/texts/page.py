"""The page from top to bottom: a text, what colours it, the token that was clicked, and its experts in every layer."""

from typing import Any

import streamlit as st

from ..session import View, layer_slider
from ..widgets import chart, chips, escaped, text, token_text
from .path import MOST_SLOTS, expert_chart, path_links, path_table, sankey, share_shown, shown_layers
from .text_sources import stored_text, typed_text
from .token_colours import COLOURINGS, ONE_EXPERT, coloured
from .trace import Trace

_STORED, _TYPED = "stored sample", "a prompt of your own"
_SHOWN = 1000


def show(view: View) -> None:
    """Draws the page."""
    st.header("Tokens")
    sources = [_STORED, _TYPED] if view.store is not None else [_TYPED]
    source = st.segmented_control("Read", sources, default=sources[0], key="tokens-source") or sources[0]
    if view.store is None:
        st.caption("No store of this model yet, so no stored samples; make one under Captures and runs.")
    found = stored_text(view.store) if source == _STORED and view.store is not None else typed_text(view)
    if found is not None:
        draw_text(view, *found)


# ---- the text


def draw_text(view: View, trace: Trace, name: str) -> None:
    layers = list(trace.layers)
    if not layers:
        st.info("No token of this sample was routed; choose another.")
        return
    left, right = st.columns(2)
    by = left.selectbox("Colour by", COLOURINGS, key="tokens-by")
    with right:
        layer = layer_slider(layers, "tokens-layer")
    n = view.anatomy.layer(layer).n_experts
    expert = st.selectbox("Expert", range(n), key="tokens-expert") if by == ONE_EXPERT else 0
    made = coloured(trace, layer, by, expert)
    st.caption(f"Colour: {escaped(made.meaning)}. Hover for the routing, click a token for its experts.")
    chips(made.legend, "tokens-legend", "What the colours mean")
    start = first_shown(len(trace.tokens))
    at = position_of(trace, name)
    inside = at - start if start <= at < start + _SHOWN else None
    with st.container(border=True):
        chips(
            made.chips[start : start + _SHOWN],
            "tokens-text",
            "The text",
            inside,
            lambda i: choose_token(start + i, name),
        )
    draw_token(view, trace, at, layer, name)


def first_shown(n: int) -> int:
    """Where the part shown begins; long texts come in parts."""
    if n <= _SHOWN:
        return 0
    parts = -(-n // _SHOWN)
    part = st.number_input(f"Part (of {parts}, {_SHOWN:,} tokens each)", 1, parts, 1, key="tokens-part")
    return _SHOWN * (int(part) - 1)


def choose_token(position: int, name: str) -> None:
    st.session_state["tokens-at"] = (name, position)


def position_of(trace: Trace, name: str) -> int:
    """The token looked at; at first the last one of the prompt, which decides how the answer begins."""
    of, at = st.session_state.get("tokens-at", ("", 0))
    return at if of == name and at < len(trace.tokens) else max(0, trace.n_prompt - 1)


# ---- one token


def draw_token(view: View, trace: Trace, at: int, layer: int, name: str) -> None:
    st.session_state["tokens-position"] = at
    left, right = st.columns([1, 3], vertical_alignment="bottom")
    left.number_input(
        "Token at position", 0, len(trace.tokens) - 1, key="tokens-position", on_change=typed_position, args=(name,)
    )
    right.text(f"{token_text(trace.tokens[at])}   ({trace.roles[at]}, {'prompt' if at < trace.n_prompt else 'answer'})")
    table = path_table(trace, at)
    if table.empty:
        st.info("This token was not routed: the last token of an answer is never read by the model. Choose another.")
        return
    n_experts = max(view.anatomy.layer(n).n_experts for n in trace.layers)
    title = f"Path of '{text(token_text(trace.tokens[at]))}' at position {at}"
    most_slots: Any = table["rank"].max()
    if most_slots > MOST_SLOTS:
        st.text(
            f"Each layer selects {table['rank'].max()} experts for this token; below are the {MOST_SLOTS} with the largest "
            f"weights, which have {share_shown(table):.0%} of it. Data as CSV holds all of them."
        )
        with st.expander(f"Path of these {MOST_SLOTS} through the layers"):
            draw_path(trace, table, layer, title)
    else:
        draw_path(trace, table, layer, title)
    left, right = st.columns(2)
    with left:
        chart(expert_chart(table, layer, n_experts), "tokens-experts", table)
    with right:
        st.dataframe(table[table["rank"] <= MOST_SLOTS], hide_index=True, height=320)


def typed_position(name: str) -> None:
    choose_token(int(st.session_state["tokens-position"]), name)


def draw_path(trace: Trace, table: Any, layer: int, title: str) -> None:
    layers = shown_layers(list(trace.layers), layer)
    if len(layers) < 2:
        st.info("This model has one MoE layer, so there is no path between layers to draw.")
        return
    links = path_links(table, layers)
    chart(sankey(links, layer, title), "tokens-path", links)
    shown = f"layers {layers[0]} to {layers[-1]} of {len(trace.layers)}, " if len(layers) < len(trace.layers) else ""
    st.caption(
        f"Drawn: {shown}at most {MOST_SLOTS} experts of each layer, by weight. A link is as wide as the product of both experts' "
        "shares of the token's weight: it says which experts worked on this token in turn, not that one fed the other."
    )
