"""The stores of the project: a table, opening one, checking its files, and going on with half-written ones."""

from typing import Any

import streamlit as st

from workbench import WorkbenchError
from workbench.anatomy import WITHOUT_VERSION, is_unversioned

from ..session import View, choose, session, store_at
from ..widgets import sentence, visible
from .jobs import Job, jobs
from .store_rows import COMPLETE, store_rows
from .unfinished import Unfinished, to_resume, unfinished

_COLUMNS: dict[str, Any] = {
    "name": st.column_config.TextColumn("name", pinned=True),
    "prompts": st.column_config.NumberColumn("prompts", format="localized"),
    "tokens": st.column_config.NumberColumn("tokens", format="localized"),
    "size": st.column_config.NumberColumn("size", format="%.1f MB"),
}


def stores_panel(view: View) -> None:
    """Draws the table, and what can be done with a store."""
    st.subheader("Stores", divider="gray")
    rows = store_rows(view.catalog)
    shown = rows.assign(name=rows["name"].map(visible), state=rows["state"].map(visible))
    st.dataframe(shown, hide_index=True, column_config=_COLUMNS)
    complete = rows["name"][rows["state"] == COMPLETE].tolist()
    one_store(view, complete)
    _half_written(view)


def one_store(view: View, names: list[str]) -> None:
    if not names:
        st.text("No complete store yet; start a capture above.")
        return
    at = names.index(view.store_name) if view.store_name in names else 0
    a, b, c = st.columns([3, 1, 1], vertical_alignment="bottom")
    name = a.selectbox("Store to open", names, at, key="stores-one", format_func=visible)
    model = served_as(view, name)
    is_open = name == view.store_name
    b.button("Open", key="stores-open", on_click=open_store_of, args=(model, name), disabled=model is None or is_open)
    if c.button("Check every file", key="stores-check"):
        with st.spinner("Comparing every file with the manifest ..."):
            wrong = store_at(view.catalog.store(name)).check()
        st.text("\n".join(map(visible, wrong)) or "Every file is as it was captured.")
    if is_unversioned(store_at(view.catalog.store(name)).anatomy.fingerprint):
        st.text(WITHOUT_VERSION)
    if is_open:
        st.text("This store is open; every page shows it.")
    elif model is None:
        st.text("It holds a model that this server was not started with; start workbench app --model with that one.")


def served_as(view: View, name: str) -> str | None:
    """The name under which the server serves the store's model, None when it does not."""
    anatomy = store_at(view.catalog.store(name)).anatomy
    if view.anatomy.is_same(anatomy.fingerprint):
        return view.name
    return next((served for served, source in view.catalog.models.items() if source == anatomy.model), None)


def open_store_of(model: str, name: str) -> None:
    choose(model=model, store=name)
    # the boxes in the sidebar remember what was chosen there
    st.session_state["choose-model"], st.session_state["choose-store"] = model, name


# ---- half-written stores


def _half_written(view: View) -> None:
    for half in unfinished(view.catalog):
        if jobs().active_on(half.path):
            continue
        left, right = st.columns([5, 1], vertical_alignment="center")
        left.text(f"{visible(half.name)} is half written: {half}.")
        if not view.anatomy.is_same(half.fingerprint or ""):
            left.text("It was begun with another model; choose that model to go on.")
        elif right.button("Resume", key=f"resume-{half.name}"):
            resume_capture(view, half)


def resume_capture(view: View, half: Unfinished) -> None:
    try:
        jobs().start(Job(half.name, half.path, session(), view.machine, to_resume(view.catalog, half)))
    except WorkbenchError as error:
        st.error(sentence(error), icon=":material/error:")
        return
    st.rerun()
