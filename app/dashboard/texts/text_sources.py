"""Where the page of tokens gets its text: a sample of the store, or a prompt that the model reads once."""

from typing import Any

import streamlit as st

from workbench import Plan, Store

from ..session import Identity, View, identity, plan, store_at
from ..widgets import escaped, visible
from .told_apart import told_apart
from .trace import Trace, stored_trace, typed_trace

_LISTED = 200


def stored_text(store: Store) -> tuple[Trace, str] | None:
    """A sample of the store, chosen by its prompt."""
    left, right = st.columns([1, 2])
    wanted = left.text_input("Find a prompt", key="tokens-find", placeholder="part of its text or id", max_chars=200)
    prompts: Any = store.prompts[["prompt_id", "text"]].fillna("")
    every = prompts["text"].tolist()
    if wanted:
        has = prompts["prompt_id"].str.contains(wanted, case=False, regex=False)
        prompts = prompts[has | prompts["text"].str.contains(wanted, case=False, regex=False)]
    if prompts.empty:
        st.info("No prompt of this store has that in its text or id; look for something else.")
        return None
    listed = prompts.head(_LISTED)
    told = zip(listed["prompt_id"], told_apart(listed["text"].tolist(), every), strict=True)
    shown = {name: f"{name}: {words}" for name, words in told}
    prompt = right.selectbox("Prompt", list(shown), key="tokens-prompt", format_func=lambda p: visible(shown.get(p, p)))
    assert prompt is not None  # there is one to choose
    if len(prompts) > _LISTED:
        st.caption(f"The first {_LISTED} of {len(prompts):,} prompts are listed; find others by their text.")
    sample = st.number_input("Sample", 0, store.n_samples - 1, 0, key="tokens-sample") if store.n_samples > 1 else 0
    return read_stored(str(store.path), identity(store.path), prompt, int(sample)), f"{prompt}, sample {sample}"


@st.cache_resource(max_entries=32, show_spinner="Reading the sample ...")
def read_stored(path: str, now: Identity, prompt: str, sample: int) -> Trace:
    return stored_trace(store_at(path), prompt, sample)


def typed_text(view: View) -> tuple[Trace, str] | None:
    """What the model did with a prompt of the reader's own."""
    can_chat = bool(getattr(view.machine.model.tokenizer, "chat_template", None))
    with st.form("tokens-form", border=False):
        prompt = st.text_area("Prompt", key="tokens-typed", height=100)
        as_chat = st.toggle("As a chat message", can_chat, key="tokens-chat", disabled=not can_chat)
        steered = st.toggle("With the plan of this session", False, key="tokens-steered")
        st.text(f"Plan: {plan()}" if plan() else "The plan is empty; make one under Steer or Atlas.")
        asked = st.form_submit_button("Read it", type="primary")
    model = (view.name, view.anatomy.fingerprint)
    if asked and prompt:
        used = plan() if steered and plan() else None
        st.session_state.tokens_read = (model, _run(view, prompt, as_chat, used), str(used or ""))
    read = st.session_state.get("tokens_read")
    if read is None or read[0] != model:
        st.info("Type a prompt and press Read it; the model reads it once and generates nothing.")
        return None
    said_words(read[1], read[2])
    return read[1], "your prompt" + (f" under {read[2]}" if read[2] else "")


def _run(view: View, prompt: str, as_chat: bool, used: Plan | None) -> Trace:
    """Reads the prompt when it is this session's turn."""
    with st.spinner("Reading, as soon as it is your turn ..."), view.machine.turns.turn(object()):
        return typed_trace(view.machine.model, prompt, as_chat=as_chat, plan=used)


def said_words(trace: Trace, used: str) -> None:
    """The dose, where a plan was in force; in a box when it changed nothing."""
    if trace.dose is None:
        return
    if trace.dose.tokens_changed:
        st.text(visible(f"Read under {used}. Dose: {trace.dose}."))
    else:
        st.warning(escaped(f"Read under {used}. Dose: {trace.dose}; edits of the answer alone do nothing here."))
