"""The page from top to bottom: a measure, the board in its colours, the card of one expert, how evenly layers route."""

from typing import Any

import pandas as pd
import streamlit as st

from probes.baselines import QUESTION
from workbench import ExpertRef, Store

from ..questions import Measure, Measures, measures_for, notes_of, telling, token_measure, values_of
from ..session import View, current_layer, layer_box, look_at, plan, scores_of
from ..widgets import Board, board, chart, escaped, visible
from .card import draw_card
from .entropy_chart import entropy_chart

OWN_TOKEN = "nPMI: a token of your choice ..."
_HINT = "Click an expert for its card, or use the arrow keys and Enter."


def show(view: View) -> None:
    """Draws the page."""
    st.header("Atlas")
    store = view.store
    if store is None:
        st.info(
            "No store of this model yet; make one under Captures and runs, then come back to see what its experts do."
        )
        return
    offered = measures_for(view, store)
    measure = chosen_measure(view, offered)
    frame = values_of(view, measure)
    ref = chosen_expert(store, frame)
    _map(view, measure, frame, ref)
    _choose_by_hand(store, ref)
    draw_card(view, store, ref, offered)
    _layers(view)


def chosen_measure(view: View, offered: Measures) -> Measure:
    """The measure chosen; at first one that tells this store's experts apart."""
    named = {m.name: m for m in offered.measures}
    first = telling(view, offered.measures)
    at = list(named).index(first.name) if first is not None else 0
    name = st.selectbox("Colour by", [*named, OWN_TOKEN], at, key="atlas-measure")
    for reason in offered.refused:
        st.caption(escaped(reason))
    if name != OWN_TOKEN:
        return named[name]
    token = st.text_input("Token, as it is written (with its leading space)", " the", key="atlas-token", max_chars=100)
    template = st.toggle("Look in the chat template too (tokens=all)", False, key="atlas-token-template")
    return token_measure(token, template=template)


def chosen_expert(store: Store, frame: pd.DataFrame) -> ExpertRef:
    """The layer of the view and the expert of this session; where none was chosen, the first by the measure."""
    if "layer" in st.session_state.view:
        layer = current_layer(store.layers)
        ranked: Any = frame["expert"][frame["layer"] == layer]
    else:
        layer, ranked = (
            (int(frame["layer"].iloc[0]), frame["expert"]) if len(frame) else (store.layers[0], frame["expert"])
        )
    first = int(ranked.iloc[0]) if len(ranked) else 0
    asked = st.session_state.get("atlas-at", first)
    return ExpertRef(layer, asked if asked < store.anatomy.layer(layer).n_experts else first)


def _map(view: View, measure: Measure, frame: pd.DataFrame, ref: ExpertRef) -> None:
    title = f"{measure.name}, by layer and expert"
    rows, counts = rows_of(frame)
    shown = Board(title, rows, measure.unit, measure.palette, counts, ref, _HINT, measure.middle)
    board(shown, plan(), "atlas-map", picked)
    notes = notes_of(view, measure)
    for note in notes:  # the one that a claim about a domain must not be read without
        if note.startswith(QUESTION):
            st.caption(escaped(note))
    with st.expander("How to read this"):
        for note in notes:
            st.text(visible(note))


def rows_of(frame: Any) -> tuple[dict[int, list[float | None]], dict[int, list[int]]]:
    """Layer -> score of each expert (None: has none), and how many tokens it rests on."""
    values: dict[int, list[float | None]] = {}
    counts: dict[int, list[int]] = {}
    for layer in sorted(map(int, frame["layer"].unique())):
        part = frame[frame["layer"] == layer].set_index("expert").sort_index()
        part = part.reindex(range(int(part.index.max()) + 1))
        values[layer] = [None if score != score else float(score) for score in part["score"]]
        counts[layer] = part["n"].fillna(0).astype(int).tolist()
    return values, counts


def picked(refs: list[ExpertRef]) -> None:
    look_at(refs[0].layer)
    st.session_state["atlas-at"] = refs[0].expert


def _choose_by_hand(store: Store, ref: ExpertRef) -> None:
    left, right = st.columns(2)
    with left:
        layer_box(store.layers, "atlas-layer", ref.layer)
    st.session_state["atlas-expert"] = ref.expert
    right.selectbox("Expert", range(store.anatomy.layer(ref.layer).n_experts), key="atlas-expert", on_change=by_hand)


def by_hand() -> None:
    st.session_state["atlas-at"] = st.session_state["atlas-expert"]


def _layers(view: View) -> None:
    assert view.store_path is not None
    frame = scores_of(view.store_path, "routing_entropy").frame
    chart(entropy_chart(frame), "atlas-entropy", frame)
