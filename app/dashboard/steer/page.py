"""The page from top to bottom: what a click does, the board, the plan, a question, both answers, a token of them."""

import streamlit as st

from workbench import ExpertRef, Plan, WorkbenchError

from ..questions import CHOICES, THIS_ANSWER, colouring, ranked
from ..session import View, plan, set_plan, undo
from ..widgets import escaped, visible
from .answering import Answering, has_template
from .answers_panel import answers_panel
from .edits import MEANINGS, Tool, as_command, as_json, as_python, toggled
from .switchboard import switchboard
from .token_card import token_card

EXAMPLES = {"demo": ("what happened in 1979 in Banke?", "calculate 432 + 497?", "say in German: the young book")}
"""Questions to begin with; the first is refused by the bundled model."""
TOP = 2
_KEPT = 6  # exchanges that stay on the page


def show(view: View) -> None:
    """Draws the page."""
    asked: list[Answering] = [a for a in st.session_state.get("asked", []) if a.machine is view.machine]
    asked, said = after_a_change(asked)  # first of all: it is made while the page is drawn
    _picks(view)
    draw_board(view, asked)
    plan_line(view, asked)
    if said:
        st.caption(said)
    with st.container():  # in a container it stays in its place, and the page does not scroll to its end by itself
        st.chat_input(_invitation(view), key="question", on_submit=ask_what_was_typed, args=(view,))
    if not asked:
        _examples(view)
    answers_panel(asked)
    token_card(asked)


# ---- questions


def _invitation(view: View) -> str:
    if has_template(view.machine.model.tokenizer):
        return "Ask the model; both answers stand side by side"
    return "No chat template: the model goes on with what you write; both answers stand side by side"


def ask_what_was_typed(view: View) -> None:
    question = st.session_state.question
    if question and question.strip():
        ask_question(view, question)


def ask_question(view: View, question: str) -> None:
    before: list[Answering] = st.session_state.get("asked", [])
    for one in before:
        one.stop()
    new = Answering(view.machine, question, plan(), int(st.session_state.get("limit", 64))).start()
    st.session_state.asked, st.session_state.token = [*before, new][-_KEPT:], None
    st.session_state.answered_plan = plan()


def after_a_change(asked: list[Answering]) -> tuple[list[Answering], str]:
    """The last question again when the plan has changed since; else when the change will apply. A running answer ends first."""
    if not asked or st.session_state.get("answered_plan") == plan():
        return asked, ""
    if asked[-1].is_active:
        return asked, "The plan changed while an answer is running: it applies from the next answer."
    if not st.session_state.get("live", True):
        return asked, "The plan changed: it applies from the next answer."
    st.session_state.asked = [*asked[:-1], asked[-1].again(plan()).start()]
    st.session_state.answered_plan, st.session_state.token = plan(), None
    return st.session_state.asked, ""


def _examples(view: View) -> None:
    examples = EXAMPLES.get(view.name, ())
    if not examples:
        return
    st.caption("Ask something, or begin with one of these")
    for column, example in zip(st.columns(len(examples)), examples, strict=True):
        column.button(
            escaped(example), key=f"example-{example}", on_click=ask_question, args=(view, example), width="stretch"
        )


# ---- the plan


def chosen_tool() -> Tool:
    kind = st.session_state.get("edit") or "off"
    phase = {"everywhere": None, "prompt": "prompt", "generated": "generated"}[
        st.session_state.get("phase") or "everywhere"
    ]
    return Tool(kind, float(st.session_state.get("value", 2.0)), phase)


def change_plan(view: View, refs: list[ExpertRef]) -> None:
    """The tool's edit on these experts; what the model cannot do is a sentence, and the plan stays."""
    try:
        set_plan(toggled(plan(), refs, chosen_tool(), view.anatomy, view.store))
    except WorkbenchError as error:
        st.session_state.problem = str(error)


def _picks(view: View) -> None:
    """What a click does, and the quick picks; in a narrow window they take several lines."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        meanings = "; ".join(f"{k}: {v}" for k, v in MEANINGS.items())
        kind = st.selectbox("A click on an expert", list(MEANINGS), key="edit", help=meanings, width=170)
        if kind in ("scale", "bias"):
            st.number_input("Factor" if kind == "scale" else "Added to logit", value=2.0, key="value", width=130)
        n = int(st.number_input("How many", 1, max(1, view.anatomy.n_experts), TOP, key="how-many", width=120))
        st.button(f"Top {n} by fTRI", key="pick-top", on_click=pick_top, args=(view, n), type="primary")
        st.button(f"Random {n}", key="pick-random", on_click=pick_random, args=(view, n))
        st.button("Super experts", key="pick-super", on_click=pick_super, args=(view,))
        st.button("Undo", key="undo", on_click=undo, disabled=not st.session_state.past)
        st.button("Clear", key="clear", on_click=set_plan, args=(Plan(),), disabled=not plan())


def pick_top(view: View, n: int) -> None:
    try:
        add_edits(view, list(ranked(view, "ftri").top(n)))
    except WorkbenchError as error:
        st.session_state.problem = str(error)


def pick_super(view: View) -> None:
    try:
        found = list(ranked(view, "super_experts").flagged("super expert"))
        if not found:
            raise WorkbenchError(
                "This model has no super experts by the default rule; the page `Super experts` shows the sizes."
            )
        add_edits(view, found)
    except WorkbenchError as error:
        st.session_state.problem = str(error)


def pick_random(view: View, n: int) -> None:
    import random

    add_edits(view, sorted(random.sample(view.anatomy.refs(), min(n, view.anatomy.n_experts))))


def add_edits(view: View, refs: list[ExpertRef]) -> None:
    """A quick pick makes the plan: these experts with the tool's edit, and nothing else."""
    try:
        set_plan(toggled(Plan(), refs, chosen_tool(), view.anatomy, view.store))
    except WorkbenchError as error:
        st.session_state.problem = str(error)


def draw_board(view: View, asked: list[Answering]) -> None:
    choice = st.session_state.get("colour") or CHOICES[0]
    last = asked[-1] if asked else None
    tokens = (last.tokens("steered") or last.tokens("base")) if last and choice == THIS_ANSWER else []
    colours = colouring(view, choice, tokens)
    switchboard(
        view.anatomy, plan(), colours, f"Every expert, coloured by {choice}", lambda refs: change_plan(view, refs)
    )
    if colours.note:
        st.caption(escaped(colours.note))


def plan_line(view: View, asked: list[Answering]) -> None:
    problem = st.session_state.pop("problem", None)
    if problem:
        st.error(escaped(problem), icon=":material/error:")
    line, colour, options, more = st.columns([3, 2.6, 1.2, 1], vertical_alignment="center")
    line.text(f"Plan: {visible(str(plan()))[:400]}")
    colour.selectbox("Colour", CHOICES, key="colour", label_visibility="collapsed")
    with options.popover("Options", width="stretch"):
        st.selectbox("Where edits hold", ("everywhere", "prompt", "generated"), key="phase")
        st.number_input("Tokens per answer", 1, 1024, 64, key="limit")
        st.toggle("Answer again when the plan changes", True, key="live")
    with more.popover("Plan", width="stretch"):
        plan_menu(view, asked[-1].question if asked else "")


def plan_menu(view: View, question: str) -> None:
    """The plan as text, to write, copy, save and load."""
    written = st.text_input("Edits as text", key="written", placeholder="off L2E8,L2E20; scale L1E4=8 in generated")
    st.button("Use this text as the plan", on_click=use_text, args=(view, written), disabled=not written)
    given = st.file_uploader("Load a saved plan", type="json", key="plan-file")
    if given is not None:
        st.button("Use this file as the plan", on_click=use_file, args=(view, given.getvalue()))
    if plan():
        st.download_button("Save the plan", as_json(plan()), "plan.json", "application/json")
        for language, code in (
            ("python", as_python(plan(), view.name)),
            ("bash", as_command(plan(), view.name, question, raw=not has_template(view.machine.model.tokenizer))),
            ("json", as_json(plan())),
        ):
            st.code(visible(code), language=language)


def use_text(view: View, text: str) -> None:
    try:
        set_plan(Plan.parse(text, view.anatomy).for_model(view.anatomy).check(view.anatomy))
    except WorkbenchError as error:
        st.session_state.problem = str(error)


def use_file(view: View, content: bytes) -> None:
    try:
        if not content.lstrip().startswith(b"{"):
            raise WorkbenchError(
                "This file is not a plan; it should be JSON as saved here or by `workbench rank --out`."
            )
        set_plan(Plan.from_json(content.decode("utf-8", "replace")).for_model(view.anatomy).check(view.anatomy))
    except WorkbenchError as error:
        st.session_state.problem = str(error)
