"""The chat: base and steered answers side by side as they come, the tokens where they part, the dose, a stop button."""

from difflib import SequenceMatcher
from typing import Literal

import streamlit as st

from workbench.answering import StreamedToken

from ..session import sentences
from ..widgets import Chip, chips, escaped, sentence, visible
from .answering import Answering

Side = Literal["base", "steered"]
_QUESTION_SHOWN = 2000
_TICK_SECONDS = 0.15
_PLACES = 4


def answers_panel(asked: list[Answering]) -> None:
    """Draws the questions so far, the newest first; an answer that comes draws itself again several times a second."""
    st.session_state.pop("token_clicked", None)
    for one in reversed(asked):
        if one.is_active:
            place = min(one.place or 0, _PLACES)  # who waits looks less often: eight such pages would keep a core busy
            st.fragment(coming_answers, run_every=_TICK_SECONDS * (1 + 2 * place))(one, place > 0)
        else:
            _exchange(one)


def coming_answers(one: Answering, waited: bool) -> None:
    """An answer at work. The whole page is drawn once more when its turn comes, to look more often, and when it is there."""
    with sentences():
        one.look()
        _exchange(one)
        its_turn = waited and one.state == "running"
        card_wanted = st.session_state.pop("token_clicked", False)  # it is not in this fragment
        if its_turn or card_wanted or not one.is_active:
            st.rerun()


def _exchange(one: Answering) -> None:
    with st.container(border=True):
        both_answers(one)


def both_answers(one: Answering) -> None:
    top, action = st.columns([5, 1], vertical_alignment="center")
    shown = one.question[:_QUESTION_SHOWN] + (" \u2026" if len(one.question) > _QUESTION_SHOWN else "")
    top.text(visible(shown))
    if one.is_active:
        action.button("Stop", key=f"stop-{one.number}", on_click=one.stop, icon=":material/stop:", width="stretch")
    parted = {
        "base": parted_at(one.tokens("base"), one.tokens("steered")),
        "steered": parted_at(one.tokens("steered"), one.tokens("base")),
    }
    for column, side in zip(st.columns(2), ("base", "steered"), strict=True):
        with column:
            _answer(one, side, parted[side])
    st.text(_status(one))
    if one.error:
        st.error(sentence(one.error), icon=":material/error:")


def _answer(one: Answering, side: Side, parted: set[int]) -> None:
    if side == "steered" and not one.plan:
        st.caption("steered: nothing")
        st.text("The plan is empty: click an expert on the board, or use a quick pick.")
        return
    found = one.tokens(side)
    long = f"{side} ({len(found)} tokens)"
    st.caption(long if side == "base" else f"{long}: {escaped(shortened(str(one.plan)))}")
    row = [
        Chip(
            piece,
            f"{t.chosen.text!r}, probability {t.chosen.probability:.1%}" + ("" if piece else ", part of a character"),
            " ".join(["parted"] * bool(one.plan and i in parted) + ["part"] * (not piece)),
        )
        for i, (t, piece) in enumerate(zip(found, one.pieces(side), strict=False))  # the answer may grow meanwhile
    ]
    at = st.session_state.get("token")
    chosen = at[2] if at and at[:2] == (one.number, side) else None

    def clicked(i: int) -> None:
        st.session_state.token = (one.number, side, i)
        st.session_state.token_clicked = True

    chips(row, f"answer-{one.number}-{side}", f"{side} answer", chosen, clicked)
    if not found and not one.is_active and not one.error:
        st.text("(no text)")


def parted_at(one: list[StreamedToken], other: list[StreamedToken]) -> set[int]:
    """Positions of `one` whose tokens the other answer does not have in this order."""
    a, b = [t.chosen.id for t in one], [t.chosen.id for t in other]
    same = SequenceMatcher(None, a, b, autojunk=False).get_matching_blocks()
    return set(range(len(a))) - {m.a + i for m in same for i in range(m.size)}


def _status(one: Answering) -> str:
    if one.state == "waiting":
        return f"Waiting for the model, place {one.place or 1} in the queue."
    said = {"running": "Answering ...", "done": "", "stopped": "Stopped.", "failed": ""}[one.state]
    if not one.plan or one.state == "failed":
        return said
    return f"{said} Dose: {one.dose.counts()}.".strip()


def shortened(text: str, most: int = 120) -> str:
    return text if len(text) <= most else text[:most] + " \u2026"
