"""The first page: the switchboard, the plan it makes, and both answers."""

import streamlit as st

from workbench import ExpertRef, Plan, WorkbenchError

from .answering import Answering
from .answers_panel import answers_panel
from .colours import CHOICES, THIS_ANSWER, colouring, ranked
from .edits import MEANINGS, Tool, as_command, as_json, as_python, toggled
from .literal import escaped, visible
from .switchboard import switchboard
from .token_card import token_card
from .view import View, plan, set_plan, undo

EXAMPLES = {"demo": ("what happened in 1979 in Banke?", "calculate 432 + 497?", "say in German: the young book")}
"""Questions to begin with; the first is refused by the bundled model."""
TOP = 2
_KEPT = 12  # exchanges that stay on the page


def show(view: View) -> None:
    """Draws the page."""
    asked: list[Answering] = [a for a in st.session_state.get("asked", []) if a.machine is view.machine]
    question = st.chat_input("Ask the model; both answers stand side by side", key="question")
    if question and question.strip():
        asked = _ask(view, asked, question)
    _picks(view)
    _board(view, asked)
    _plan_line(view, asked)
    asked = _after_a_change(view, asked)
    if not asked:
        _examples(view)
    answers_panel(asked)
    token_card(asked)


# ---- questions


def _ask(view: View, asked: list[Answering], question: str) -> list[Answering]:
    for one in asked:
        one.stop()
    limit = int(st.session_state.get("limit", 64))
    new = Answering(view.machine, question, plan(), limit).start()
    st.session_state.asked, st.session_state.token = [*asked, new][-_KEPT:], None
    st.session_state.answered_plan = plan()
    return st.session_state.asked


def _after_a_change(view: View, asked: list[Answering]) -> list[Answering]:
    """The last question again when the plan has changed since; an answer that still runs is left to end first."""
    if not asked or st.session_state.get("answered_plan") == plan():
        return asked
    if asked[-1].is_active:
        st.caption("The plan changed while an answer is running: it applies from the next answer.")
        return asked
    if not st.session_state.get("live", True):
        st.caption("The plan changed: it applies from the next answer.")
        return asked
    st.session_state.asked = [*asked[:-1], asked[-1].again(plan()).start()]
    st.session_state.answered_plan, st.session_state.token = plan(), None
    return st.session_state.asked


def _examples(view: View) -> None:
    examples = EXAMPLES.get(view.name, ())
    if not examples:
        st.caption("Ask something below.")
        return
    st.caption("Ask something below, or begin with one of these")
    for column, example in zip(st.columns(len(examples)), examples, strict=True):
        column.button(
            escaped(example), key=f"example-{example}", on_click=_ask_example, args=(view, example), width="stretch"
        )


def _ask_example(view: View, example: str) -> None:
    _ask(view, [], example)


# ---- the plan


def _tool() -> Tool:
    kind = st.session_state.get("edit") or "off"
    phase = {"everywhere": None, "prompt": "prompt", "generated": "generated"}[
        st.session_state.get("phase") or "everywhere"
    ]
    return Tool(kind, float(st.session_state.get("value", 2.0)), phase)


def _change(view: View, refs: list[ExpertRef]) -> None:
    """The tool's edit on these experts; what the model cannot do is a sentence, and the plan stays."""
    try:
        set_plan(toggled(plan(), refs, _tool(), view.anatomy, view.store))
    except WorkbenchError as error:
        st.session_state.problem = str(error)


def _picks(view: View) -> None:
    """What a click does, and the quick picks."""
    tool, number, ranked_by, chance, supers, back, clear = st.columns(
        [2.2, 0.9, 1.3, 1.1, 1.4, 0.8, 0.8], vertical_alignment="bottom"
    )
    kind = tool.selectbox(
        "A click on an expert", list(MEANINGS), key="edit", help="; ".join(f"{k}: {v}" for k, v in MEANINGS.items())
    )
    n = int(number.number_input("How many", 1, max(1, view.anatomy.n_experts), TOP, key="how-many"))
    ranked_by.button(
        f"Top {n} by fTRI", key="pick-top", on_click=_pick_top, args=(view, n), width="stretch", type="primary"
    )
    chance.button(f"Random {n}", key="pick-random", on_click=_pick_random, args=(view, n), width="stretch")
    supers.button("All super experts", key="pick-super", on_click=_pick_super, args=(view,), width="stretch")
    back.button("Undo", key="undo", on_click=undo, disabled=not st.session_state.past, width="stretch")
    clear.button("Clear", key="clear", on_click=set_plan, args=(Plan(),), disabled=not plan(), width="stretch")
    if kind in ("scale", "bias"):
        st.number_input("Factor" if kind == "scale" else "Added to the logit", value=2.0, key="value")


def _pick_top(view: View, n: int) -> None:
    try:
        _add(view, list(ranked(view, "ftri").top(n)))
    except WorkbenchError as error:
        st.session_state.problem = str(error)


def _pick_super(view: View) -> None:
    try:
        found = list(ranked(view, "super_experts").flagged("super expert"))
        if not found:
            raise WorkbenchError(
                "This model has no super experts by the paper's rule; the page `Super experts` shows the sizes."
            )
        _add(view, found)
    except WorkbenchError as error:
        st.session_state.problem = str(error)


def _pick_random(view: View, n: int) -> None:
    import random

    _add(view, sorted(random.sample(view.anatomy.refs(), min(n, view.anatomy.n_experts))))


def _add(view: View, refs: list[ExpertRef]) -> None:
    """A quick pick makes the plan: these experts with the tool's edit, and nothing else."""
    try:
        set_plan(toggled(Plan(), refs, _tool(), view.anatomy, view.store))
    except WorkbenchError as error:
        st.session_state.problem = str(error)


def _board(view: View, asked: list[Answering]) -> None:
    choice = st.session_state.get("colour") or CHOICES[0]
    last = asked[-1] if asked else None
    tokens = (last.tokens("steered") or last.tokens("base")) if last and choice == THIS_ANSWER else []
    colours = colouring(view, choice, tokens)
    switchboard(view.anatomy, plan(), colours, f"Every expert, coloured by {choice}", lambda refs: _change(view, refs))
    left, middle, right = st.columns([2, 1, 1], vertical_alignment="bottom")
    left.selectbox("Colour", CHOICES, key="colour")
    middle.selectbox("Where edits hold", ("everywhere", "prompt", "generated"), key="phase")
    right.number_input("Tokens per answer", 1, 1024, 64, key="limit")
    if colours.note:
        st.caption(escaped(colours.note))


def _plan_line(view: View, asked: list[Answering]) -> None:
    problem = st.session_state.pop("problem", None)
    if problem:
        st.error(escaped(problem), icon=":material/error:")
    line, live, more = st.columns([4, 2, 1], vertical_alignment="center")
    line.text(f"Plan: {visible(str(plan()))[:400]}")
    live.toggle("Answer again when the plan changes", True, key="live")
    with more.popover("Plan", width="stretch"):
        _plan_menu(view, asked[-1].question if asked else "")


def _plan_menu(view: View, question: str) -> None:
    """The plan as text, to write, copy, save and load."""
    written = st.text_input("Edits as text", key="written", placeholder="off L2E8,L2E20; scale L1E4=8 in generated")
    st.button("Use this text as the plan", on_click=_use_text, args=(view, written), disabled=not written)
    given = st.file_uploader("Load a saved plan", type="json", key="plan-file")
    if given is not None:
        st.button("Use this file as the plan", on_click=_use_file, args=(view, given.getvalue()))
    if plan():
        st.download_button("Save the plan", as_json(plan()), "plan.json", "application/json")
        for language, code in (
            ("python", as_python(plan(), view.name)),
            ("bash", as_command(plan(), view.name, question)),
            ("json", as_json(plan())),
        ):
            st.code(visible(code), language=language)


def _use_text(view: View, text: str) -> None:
    try:
        set_plan(Plan.parse(text, view.anatomy).for_model(view.anatomy).check(view.anatomy))
    except WorkbenchError as error:
        st.session_state.problem = str(error)


def _use_file(view: View, content: bytes) -> None:
    try:
        if not content.lstrip().startswith(b"{"):
            raise WorkbenchError(
                "This file is not a plan; it should be JSON as saved here or by `workbench rank --out`."
            )
        set_plan(Plan.from_json(content.decode("utf-8", "replace")).for_model(view.anatomy).check(view.anatomy))
    except WorkbenchError as error:
        st.session_state.problem = str(error)
