"""What goes wrong on a page is a sentence there; the traceback is in the server's log."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from workbench import WorkbenchError

from ..widgets import escaped, sentence


@contextmanager
def sentences() -> Iterator[None]:
    """Around a page or a fragment: errors end it with one sentence."""
    try:
        yield
    except WorkbenchError as error:
        st.error(sentence(error), icon=":material/error:")
        st.button("Start again with an empty plan", on_click=start_again, key="start-again")
    except Exception as error:
        if type(error).__module__.startswith("streamlit"):
            raise  # how Streamlit stops and reruns a script
        logging.getLogger("workbench").exception("a page failed")
        st.error(
            escaped(f"This page failed ({type(error).__name__}); reload it, and read the server's log for the cause.")
        )


def start_again() -> None:
    st.session_state.clear()
    st.query_params.clear()
