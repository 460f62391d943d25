"""The page 'atlas'."""

import streamlit as st

from .view import View


def show(view: View) -> None:
    """Draws the page."""
    st.text("atlas")
