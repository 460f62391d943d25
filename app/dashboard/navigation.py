"""Where the page begins: what is served, which page is shown, what is chosen, and errors as a sentence."""

from collections.abc import Callable
from functools import partial

import streamlit as st

from . import atlas, captures, rankings, steer, super_experts, texts
from .session import Catalog, View, catalog_from, choose, current_view, fitting_stores, sentences, write_url

# the first row at the height of the menu, room for boards at the sides, and labels of checkboxes uncut
STYLE = """<style>
.stMainBlockContainer { padding: 3.75rem 2rem 2rem; }
.stCheckbox label p { white-space: normal; overflow: visible; }
@media (max-width: 640px) { .stMainBlockContainer { padding: 3.75rem 1rem 1rem; } }
</style>"""
_SHOWN = 200  # characters
PAGES: dict[str, tuple[str, Callable[[View], None]]] = {
    "steer": ("Steer", steer.show),
    "atlas": ("Atlas", atlas.show),
    "tokens": ("Tokens", texts.show),
    "probes": ("Probes", rankings.show),
    "super-experts": ("Super experts", super_experts.show),
    "captures": ("Captures and runs", captures.show),
}


def run(arguments: list[str]) -> None:
    """One run of the script for one session."""
    st.set_page_config(page_title="MoE Workbench", layout="wide")
    st.html(STYLE)
    catalog = catalog_from(arguments)
    pages = [
        st.Page(partial(shown_page, catalog, show), title=title, url_path=path, default=path == "steer")
        for path, (title, show) in PAGES.items()
    ]
    st.navigation(pages).run()


def shown_page(catalog: Catalog, show: Callable[[View], None]) -> None:
    with sentences():
        view = current_view(catalog)
        sidebar(view)
        show(view)
        write_url(view)


def sidebar(view: View) -> None:
    """Model and store, chosen by name."""
    with st.sidebar:
        models = list(view.catalog.models)
        if len(models) > 1:
            st.selectbox(
                "Model", models, models.index(view.name), key="choose-model", on_change=chosen_source, args=("model",)
            )
        stores = list(fitting_stores(view.catalog, view.anatomy))
        if stores:
            at = stores.index(view.store_name) if view.store_name in stores else 0
            st.selectbox("Store", stores, at, key="choose-store", on_change=chosen_source, args=("store",))
        a = view.anatomy
        st.text(f"{a.model}: {a.family}\n{len(a.moe_layers)} MoE layers, {a.n_experts} experts")
        if a.factorized_from:
            st.text(f"Its experts are groups of the neurons of a dense network: {a.factorized_from}"[:_SHOWN])
        if view.machine.everywhere:
            st.text(f"The server's own plan, in every answer: {view.machine.everywhere}"[:_SHOWN])
        if view.machine.turns.waiting:
            st.text(f"Answers running or waiting: {view.machine.turns.waiting}")


def chosen_source(what: str) -> None:
    choose(**{what: st.session_state[f"choose-{what}"]})
