"""The card of one expert: its tokens and contexts, where and with whom it is selected, its outputs, its scores, an edit."""

from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import streamlit as st

from workbench import ExpertRef, Plan, Store, WorkbenchError
from workbench.store import Routing

from ...experts import as_html, as_markdown, card_of
from ...experts.facts import Selected, by_position, by_role, partners, said, selected_by
from ..questions import Measures, values_of
from ..session import Identity, View, identity, plan, scores_of, set_plan, store_at
from ..widgets import chart, sentence, visible
from .card_text import label_of, words_of
from .expert_charts import magnitude_chart, magnitude_table, partner_chart, position_chart, role_chart

EDITS = {"off": "Switch it off", "drop": "Drop it", "mute": "Mute it", "force": "Force it"}
AT_ONCE = 2_000_000  # tokens times experts: up to here every probe together takes a second or two
_FILES = (("md", "Markdown", "text/markdown"), ("html", "HTML", "text/html"))
_SIZES = {"L2 norm": "output_l2", "largest |value|": "output_max_abs"}


class Card(NamedTuple):
    """The expert, and what the store says of it."""

    view: View
    store: Store
    ref: ExpertRef
    found: Selected


def draw_card(view: View, store: Store, ref: ExpertRef, offered: Measures) -> None:
    """Draws the card of `ref`."""
    path = str(store.path)
    card = Card(view, store, ref, selected_by(_routing(path, identity(store.path), ref.layer), ref.expert))
    with st.container(border=True):
        _head(card)
        _edit_row(view, ref)
        if not card.found.hit.any():
            st.info(
                f"No token of this store selected {ref}, so it has no tokens, contexts or outputs here; try another store."
            )
        else:
            left, right = st.columns(2)
            with left:
                words_of(store, ref, card.found)
            with right:
                _where(card)
                selected_together(card)
                sizes_of_outputs(card)
        scores_in_every_probe(card, offered)
        _files(card)


@st.cache_resource(max_entries=8, show_spinner="Reading the routing ...")
def _routing(path: str, now: Identity, layer: int) -> Routing:
    return store_at(path).routing(layer)


@st.cache_resource(max_entries=8, show_spinner="Reading the outputs ...")
def slots_of_layer(path: str, now: Identity, layer: int) -> pd.DataFrame:
    return store_at(path).table("slots", ["expert", *_SIZES.values()], [layer])


def _head(card: Card) -> None:
    st.subheader(f"Expert {card.ref}")
    n, hit = int(card.found.routed.sum()), int(card.found.hit.sum())
    mean = float(card.found.weight[card.found.hit].mean()) if hit else 0.0
    said = (("Tokens that select it", f"{hit:,} of {n:,}"), ("Share of tokens", f"{hit / max(n, 1):.2%}"),
            ("Weight when selected, mean", f"{mean:.3f}"))  # fmt: skip
    for column, (name, value) in zip(st.columns(3), said, strict=True):
        column.metric(name, value)
    path, n_experts = card.view.store_path, card.store.anatomy.layer(card.ref.layer).n_experts
    if hit and path is not None and len(card.store.tokens) * n_experts <= AT_ONCE:
        label_of(path, card.ref, n_experts)


# ---- the edit


def _edit_row(view: View, ref: ExpertRef) -> None:
    left, right, rest = st.columns([1, 1, 3], vertical_alignment="bottom")
    kind = left.selectbox("Edit", list(EDITS), key="atlas-edit")
    right.button(
        EDITS[kind], key="atlas-apply", type="primary", on_click=apply_edit, args=(view, ref, kind), width="stretch"
    )
    refused = st.session_state.pop("atlas-refused", None)
    if refused:
        st.warning(sentence(refused))
    with rest:
        st.text(f"Plan of this session: {plan()}" if plan() else "The plan of this session is empty.")


def apply_edit(view: View, ref: ExpertRef, kind: str) -> None:
    """Adds the edit to the session's plan, or says why this model cannot do it."""
    try:
        set_plan((plan() | getattr(Plan, kind)([ref])).for_model(view.anatomy).check(view.anatomy))
    except WorkbenchError as error:
        st.session_state["atlas-refused"] = str(error)


# ---- charts


def _where(card: Card) -> None:
    layer = card.store.anatomy.layer(card.ref.layer)
    even = layer.top_k / layer.n_experts
    positions, roles = by_position(card.store, card.found), by_role(card.store, card.found)
    chart(position_chart(card.ref, positions, even), "atlas-positions", positions)
    chart(role_chart(card.ref, roles, even), "atlas-roles", roles)


def selected_together(card: Card) -> None:
    assert card.view.store_path is not None
    spoken = said(card.store, card.found)
    read, seen = ("content", spoken) if spoken.hit.any() else ("all", card.found)
    pairs = scores_of(card.view.store_path, "co_selection", layer=card.ref.layer, first=0, tokens=read).frame
    frame = partners(pairs, card.ref.expert, float(seen.hit.sum() / seen.routed.sum()))
    if frame.empty:
        st.info(f"No other expert is selected with {card.ref}; this layer selects one expert a token.")
    else:
        chart(partner_chart(card.ref, frame), "atlas-partners", frame)


def sizes_of_outputs(card: Card) -> None:
    slots = slots_of_layer(str(card.store.path), identity(card.store.path), card.ref.layer)
    what = st.segmented_control("Output magnitude", list(_SIZES), default="L2 norm", key="atlas-size") or "L2 norm"
    size, own = slots[_SIZES[what]].to_numpy(np.float64), slots["expert"].to_numpy() == card.ref.expert
    if np.isnan(size[own]).all():
        st.info("This store kept no sizes of outputs; capture again with keep including 'norms'.")
        return
    others = ~own & (slots["expert"].to_numpy() >= 0) & ~np.isnan(size)
    frame = magnitude_table(size[own & ~np.isnan(size)], size[others])
    chart(magnitude_chart(card.ref, frame, what), "atlas-magnitude", frame)


# ---- all of it as a file


def _files(card: Card) -> None:
    """Buttons that hand over the card as the command line writes it, with what the page has no place for."""
    st.text("All that is known of it as a file; beside this its label, whom it is like and who follows it:")
    for column, (ending, name, kind) in zip(st.columns(2), _FILES, strict=True):
        column.download_button(
            name,
            partial(as_file, card.view, card.ref, ending),
            f"{card.ref}.{ending}",
            kind,
            key=f"atlas-{ending}",
            on_click="ignore",
        )


def as_file(view: View, ref: ExpertRef, ending: str) -> bytes:
    """The card of `ref` as a file: md or html."""
    assert view.store_path is not None
    card = card_of(store_at(view.store_path), ref)
    return (as_markdown(card) if ending == "md" else as_html(card)).encode()


# ---- scores


def scores_in_every_probe(card: Card, offered: Measures) -> None:
    st.markdown("**Its scores in every probe that this store can answer**")
    small = len(card.store.tokens) * card.store.anatomy.n_experts <= AT_ONCE
    if not st.toggle(
        "Rank every expert in every probe", small, key="atlas-scores", help="Takes a while on a large store."
    ):
        return
    rows: list[dict[str, Any]] = []
    for measure in offered.measures:
        try:
            frame = values_of(card.view, measure).reset_index(drop=True)
        except WorkbenchError as error:
            rows.append({"probe": measure.name, "note": visible(error)})
            continue
        rows.append({"probe": measure.name, "unit": measure.unit} | _row(frame, card.ref))
    st.dataframe(pd.DataFrame(rows), hide_index=True)
    st.caption("Associated with these prompts; whether it changes answers is measured by switching it off.")


def _row(frame: pd.DataFrame, ref: ExpertRef) -> dict[str, Any]:
    at = np.flatnonzero((frame["layer"] == ref.layer) & (frame["expert"] == ref.expert))
    if not len(at):
        return {"note": "not in this layer"}
    row: Any = frame.iloc[int(at[0])]
    if np.isnan(row["score"]):
        return {"note": "never selected by the tokens read"}
    kept = {name: row[name] for name in ("score", "n", "low", "high", "p_adjusted", "flags") if name in frame}
    return {"rank": f"{at[0] + 1} of {len(frame)}"} | kept
