"""A probe's answer that ranks no experts, as a table with downloads."""

from typing import TYPE_CHECKING, Any

import streamlit as st

from .literal import token_text, visible
from .ranking_table import downloads

if TYPE_CHECKING:
    from probes.ranking import Table


def answer_table(found: "Table", key: str) -> None:
    """Draws the columns that hold something, words as text that moves nothing, and the downloads."""
    if found.frame.empty:
        st.text("No row; the notes above say why.")
        return
    frame: Any = found.frame.dropna(axis=1, how="all")
    words = [name for name in frame if frame[name].dtype.kind not in "iufb"]
    numbers = {name: st.column_config.NumberColumn(format="%.4g") for name in frame if frame[name].dtype.kind == "f"}
    shown = frame.assign(**{name: frame[name].map(token_text if name == "token" else visible) for name in words})
    st.dataframe(shown, hide_index=True, column_config=numbers)
    downloads(found, key, "row")
