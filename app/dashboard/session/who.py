"""Which session this run of the script is for, and whether a session is still there."""

from streamlit import runtime
from streamlit.runtime.scriptrunner import get_script_run_ctx


def session() -> str:
    """The id of this session; "" outside of one."""
    context = get_script_run_ctx(suppress_warning=True)  # threads that are of no session ask as well
    return context.session_id if context is not None else ""


def is_there(one: str) -> bool:
    """Whether a browser tab still shows that session."""
    return one == session() or (runtime.exists() and runtime.get_instance().is_active_session(one))
