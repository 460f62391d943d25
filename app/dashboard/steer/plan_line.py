"""The plan: as one line with what undoes it, and as text to write, copy, save and load."""

import streamlit as st

from workbench import Plan, WorkbenchError

from ..session import View, plan, set_plan, undo
from ..widgets import sentence, visible
from .answering import has_template
from .edits import as_command, as_json, as_python
from .requests import as_curl, as_script, served_at

_SHOWN = 400  # characters


def plan_line(view: View, question: str) -> None:
    """Draws the plan, Undo and Clear, and what is folded away; `question` goes into the command to copy."""
    problem = st.session_state.pop("problem", None)
    if problem:
        st.error(sentence(problem), icon=":material/error:")
    with st.container(horizontal=True, vertical_alignment="center"):
        st.text(f"Plan: {visible(str(plan()))[:_SHOWN]}", width="stretch")
        st.button("Undo", key="undo", on_click=undo, disabled=not st.session_state.past)
        st.button("Clear", key="clear", on_click=set_plan, args=(Plan(),), disabled=not plan())
        with st.popover("Options"):
            st.selectbox("Where edits hold", ("everywhere", "prompt", "generated"), key="phase")
            st.number_input("Tokens per answer", 1, 1024, 64, key="limit")
            st.toggle("Answer again when the plan changes", True, key="live")
            st.toggle("Show spaces and line breaks", key="signs")
        with st.popover("Plan"):
            plan_menu(view, question)


def plan_menu(view: View, question: str) -> None:
    """The plan as text, to write, copy, save and load."""
    written = st.text_input("Edits as text", key="written", placeholder="off L2E8,L2E20; scale L1E4=8 in generated")
    st.button("Use this text as the plan", on_click=use_text, args=(view, written), disabled=not written)
    given = st.file_uploader("Load a saved plan", type="json", key="plan-file")
    if given is not None:
        st.button("Use this file as the plan", on_click=use_file, args=(view, given.getvalue()))
    if plan():
        st.download_button("Save the plan", as_json(plan()), "plan.json", "application/json")
        for language, code in (*_to_run(view, question), ("json", as_json(plan()))):
            st.code(visible(code), language=language)


def _to_run(view: View, question: str) -> list[tuple[str, str]]:
    """The plan as a script and as a command: for a running server, requests."""
    if (at := served_at(view.machine)) is not None:
        return [("python", as_script(plan(), at, question)), ("bash", as_curl(plan(), at, question))]
    raw = not has_template(view.machine.model.tokenizer)
    return [("python", as_python(plan(), view.name)), ("bash", as_command(plan(), view.name, question, raw=raw))]


def use_text(view: View, text: str) -> None:
    try:
        set_plan(Plan.parse(text, view.anatomy).for_model(view.anatomy).check(view.anatomy))
    except WorkbenchError as error:
        st.session_state.problem = str(error)


def use_file(view: View, content: bytes) -> None:
    try:
        if not content.lstrip().startswith(b"{"):
            raise WorkbenchError("This file is not a plan; it should be JSON as saved here or by workbench rank --out.")
        set_plan(Plan.from_json(content.decode("utf-8", "replace")).for_model(view.anatomy).check(view.anatomy))
    except WorkbenchError as error:
        st.session_state.problem = str(error)
