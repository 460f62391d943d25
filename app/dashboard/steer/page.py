"""The page: colours and quick picks, the plan, then the board with the question and both answers beside or below it."""

import streamlit as st

from workbench.anatomy import Anatomy

from ..session import View, plan
from ..widgets import escaped, sentence
from .answering import Answering, has_template
from .answers_panel import answers_panel
from .examples import examples
from .plan_line import plan_line
from .quick_picks import Shown, change_plan, quick_picks, shown
from .switchboard import switchboard
from .token_card import token_card

_KEPT = 6  # exchanges that stay on the page
_BESIDE, _ABOVE = 0.6, 0.3  # of the window's height: what a board takes beside the answers, and above them
# the box for questions stays at the window's edge where its place is further down, and the board while answers are read
_STYLE = """<style>
[data-testid="stLayoutWrapper"]:has(> .st-key-ask) { position: sticky; bottom: 0; z-index: 90; }
.st-key-ask { background: var(--st-background-color); padding: 0.25rem 0; }
@media (min-width: 641px) { .st-key-board-side { position: sticky; top: 3.75rem; } }
@media (max-width: 640px) {
  [data-testid="stLayoutWrapper"]:has(> .st-key-ask) { position: fixed; left: 0; right: 0; padding: 0 1rem; background: inherit; }
  .stMainBlockContainer { padding-bottom: 5rem; }
}
</style>"""


def show(view: View) -> None:
    """Draws the page."""
    asked: list[Answering] = [a for a in st.session_state.get("asked", []) if a.machine is view.machine]
    asked, said = after_a_change(asked)  # first of all: it is made while the page is drawn
    st.html(_STYLE)
    board = shown(view, asked)
    quick_picks(view, board)
    plan_line(view, asked[-1].question if asked else "")
    if said:
        st.caption(said)
    if not stands_beside(view.anatomy):
        draw_board(view, board, _ABOVE)
        conversation(view, asked)
        return
    left, right = st.columns([5, 7])
    with left, st.container(key="board-side"):
        draw_board(view, board, _BESIDE)
    with right:
        conversation(view, asked)


def stands_beside(anatomy: Anatomy) -> bool:
    """Whether the board has a place beside the answers: not where it is more than twice as wide as high, or has few layers."""
    widest = max(anatomy.layer(n).n_experts for n in anatomy.moe_layers)
    return widest <= 2 * len(anatomy.moe_layers) and len(anatomy.moe_layers) > 8


def draw_board(view: View, board: Shown, share: float) -> None:
    title = f"Every expert, coloured by {board.name}"
    switchboard(view.anatomy, plan(), board.colours, title, lambda refs: change_plan(view, refs), share)
    if board.colours.note:
        st.caption(sentence(board.colours.note))


# ---- questions


def conversation(view: View, asked: list[Answering]) -> None:
    """The box for a question, examples before the first, all answers, and the token that was clicked."""
    with st.container(
        key="ask"
    ):  # in a container it stays in its place, and the page does not scroll to its end by itself
        st.chat_input(_invitation(view), key="question", on_submit=ask_what_was_typed, args=(view,))
    if not asked:
        _examples(view)
    answers_panel(asked)
    token_card(asked)


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
    offered = examples(view)
    st.caption("Ask something, or begin with one of these")
    with st.container(horizontal=True):
        for example in offered:
            st.button(
                escaped(example.strip()), key=f"example-{example}", on_click=ask_question, args=(view, example),
                width="stretch",
            )  # fmt: skip
