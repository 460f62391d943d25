"""The page from top to bottom: captures at work, a new one, the stores of the project, its experiment runs."""

import streamlit as st

from ..session import View
from .capture_form import capture_form
from .jobs_panel import jobs_panel
from .runs_panel import runs_panel
from .stores_panel import stores_panel
from .unfinished import drop_kept


def show(view: View) -> None:
    """Draws the page."""
    st.header("Captures and runs")
    st.text(
        "A capture runs prompts through the model and keeps what every expert did. It goes on when this tab is closed."
    )
    drop_kept(view.catalog)
    jobs_panel()
    capture_form(view)
    stores_panel(view)
    runs_panel(view)
