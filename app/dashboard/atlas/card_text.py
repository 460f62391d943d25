"""The words on an expert's card: the tokens that go with it, and the text around places where it was selected."""

from typing import Any

import numpy as np
import streamlit as st

from workbench import ExpertRef, Store, WorkbenchError
from workbench.paths import Place

from ...experts.facts import Context, Selected, contexts, said, top_tokens
from ..session import scores_of
from ..widgets import Chip, chips, ramp, sentence, token_text, visible


def words_of(store: Store, ref: ExpertRef, found: Selected) -> None:
    """The tokens that go with the expert and their contexts: of what was said, and of the chat template on request."""
    spoken = said(store, found)
    apart, of = int((found.hit & ~spoken.hit).sum()), int(found.hit.sum())
    if apart and st.toggle("The chat template's and special tokens too", False, key="atlas-template"):
        spoken = found
    elif apart:
        st.caption(
            f"{apart:,} of the {of:,} tokens that select it are the chat template's or special, and are left out here."
        )
    if not spoken.hit.any():
        st.info(f"Only the chat template's and special tokens select {ref}; read them too to see them.")
        return
    tokens_of(store, spoken)
    contexts_of(store, ref, spoken)


def label_of(path: Place, ref: ExpertRef, n_experts: int) -> None:
    """What it is selected at, in words, and how well these tell where it is selected in prompts that were held out."""
    try:
        layer = [f"L{ref.layer}E{e}" for e in range(n_experts)]  # a layer at once: its other experts are looked at next
        frame: Any = scores_of(path, "describe", experts=layer).frame
    except WorkbenchError as error:
        st.caption(f"No label: {sentence(str(error))}")
        return
    row = frame[frame["expert"] == ref.expert].iloc[0]
    if not row["label"]:
        st.caption("No label: no word tells where it is selected.")
        return
    good = "cannot be held against these prompts" if np.isnan(row["auroc"]) else f"has an AUROC of {row['auroc']:.2f}"
    st.text(f"Selected at {visible(row['label'])}")
    st.caption(f"On held-out prompts this label {good}; 0.5 is chance.")


def tokens_of(store: Store, found: Selected) -> None:
    """The tokens that select the expert more than others do, as a table."""
    st.markdown("**Tokens that go with it**")
    left, right = st.columns([3, 2])
    by = left.segmented_control("Rank by", ["nPMI", "lift", "selected"], default="nPMI", key="atlas-rank") or "nPMI"
    at_least = right.number_input("Seen at least (times)", 1, 1000, 5, key="atlas-least")
    frame = top_tokens(store, found, by, int(at_least))
    if frame.empty:
        st.info("No token was routed so often; lower the number.")
        return
    frame["token"] = [
        token_text(t) if isinstance(t, str) else f"#{i}" for t, i in zip(frame["token"], frame["id"], strict=True)
    ]
    number = st.column_config.NumberColumn
    shown = {
        "share": number(format="percent"),
        "lift": number(format="%.2f"),
        "nPMI": number(format="%.3f"),
        "id": None,
    }
    st.dataframe(frame, hide_index=True, column_config=shown)
    st.caption(
        "selected of: how many of the token's routed occurrences selected this expert. An association in this store."
    )


def contexts_of(store: Store, ref: ExpertRef, found: Selected) -> None:
    """Places where it was selected, with the text around them."""
    st.markdown("**Contexts**")
    which = st.segmented_control(
        "Which", ["largest weights", "spread over its weights"], default="largest weights", key="atlas-which"
    )
    for i, context in enumerate(contexts(store, found, spread=which == "spread over its weights")):
        row = store.tokens.iloc[context.row]
        st.text(f"{visible(row['prompt_id'])}, position {row['position']}, weight {found.weight[context.row]:.3f}")
        context_chips(store, ref, found, context, f"atlas-context-{i}")


def context_chips(store: Store, ref: ExpertRef, found: Selected, context: Context, key: str) -> None:
    """The text as chips; tokens that select the expert are tinted by weight, the one in question is framed."""
    rows: Any = store.tokens.iloc[context.first : context.last + 1]
    weight = found.weight[context.first : context.last + 1]
    made = [
        Chip(
            t if isinstance(t, str) else f"#{i} ",
            f"{role}; weight {w:.3f}" if w else f"{role}; not selected",
            "",
            ramp(min(1.0, float(w))) if w else "",
        )
        for t, i, role, w in zip(rows["token"], rows["token_id"], rows["role"], weight, strict=True)
    ]
    chips(made, key, f"Context of {ref}", chosen=context.row - context.first)
