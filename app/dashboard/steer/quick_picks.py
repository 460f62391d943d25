"""What the board is coloured by, what a click does to an expert, and the quick picks: the first of these colours, random ones."""

import random
from collections.abc import Mapping
from typing import NamedTuple

import streamlit as st

from workbench import ExpertRef, Plan, WorkbenchError

from ..questions import (
    ALIKE,
    NO_STORE,
    THIS_ANSWER,
    Colouring,
    Measure,
    answer_colouring,
    colour_choices,
    colouring,
    strongest,
)
from ..session import View, plan, scores_of, set_plan
from .answering import Answering
from .edits import MEANINGS, Tool, possible, toggled

_FEWEST, _MOST = 2, 10


def first_few(n_experts: int) -> int:
    """How many experts a quick pick takes before anything else is chosen: one of a hundred, from 2 to 10.

    Single experts of a fine-grained model do little: two of the bundled model's 128, ten of the 14,848 of MoTE.
    """
    return min(_MOST, max(_FEWEST, n_experts // 100))


class Shown(NamedTuple):
    """What the board shows: the name of its measure, what can be chosen instead, and the colours."""

    name: str
    choices: tuple[str, ...]
    colours: Colouring

    @property
    def short(self) -> str:
        """The measure in a word or two, for a button."""
        return "this answer" if self.name == THIS_ANSWER else self.name.partition(":")[0]


def shown(view: View, asked: list[Answering]) -> Shown:
    """What was chosen under Colour by, else what the store tells first; of a model without a store, the last answer."""
    offered: Mapping[str, Measure] = colour_choices(view)
    choices = (*offered, THIS_ANSWER)
    wanted = st.session_state.get("colour")
    name = wanted if wanted in choices else choices[0]
    if name != THIS_ANSWER:
        return Shown(name, choices, colouring(view, offered[name]))
    last = asked[-1] if asked else None
    colours = answer_colouring((last.tokens("steered") or last.tokens("base")) if last else [])
    return Shown(name, choices, colours if offered or last else colours._replace(note=NO_STORE))


def quick_picks(view: View, board: Shown) -> None:
    """Draws them in a row; in a narrow window they take several lines."""
    kinds = possible(view.anatomy)
    _forget("colour", board.choices)
    _forget("edit", kinds)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.selectbox("Colour by", board.choices, key="colour", width=300)
        meanings = "; ".join(f"{k}: {MEANINGS[k]}" for k in kinds)
        kind = st.selectbox("A click on an expert", kinds, key="edit", help=meanings, width=170)
        if kind in ("scale", "bias"):
            st.number_input("Factor" if kind == "scale" else "Added to logit", value=2.0, key="value", width=130)
        experts = max(1, view.anatomy.n_experts)
        n = int(st.number_input("How many", 1, experts, min(first_few(experts), experts), key="how-many", width=120))
        first = strongest(board.colours, n)
        st.button(
            f"Top {n} by {board.short}", key="pick-top", on_click=add_edits, args=(view, first), type="primary",
            disabled=len(first) < n, help=_why_not(board, len(first), n),
        )  # fmt: skip
        st.button(f"Random {n}", key="pick-random", on_click=pick_random, args=(view, n))
        st.button("Super experts", key="pick-super", on_click=pick_super, args=(view,))


def _forget(key: str, choices: tuple[str, ...]) -> None:
    """What was chosen of another model or store, and is not there to choose any more."""
    if st.session_state.get(key) not in (None, *choices):
        del st.session_state[key]


def _why_not(board: Shown, there: int, n: int) -> str | None:
    if there >= n:
        return None
    if board.colours.note == ALIKE:
        return ALIKE
    return f"{there} experts have a value above zero by {board.short}; ask for fewer, or choose another colour."


def chosen_tool(view: View) -> Tool:
    """The edit that a click makes."""
    kinds = possible(view.anatomy)
    kind = st.session_state.get("edit")
    phase = {"everywhere": None, "prompt": "prompt", "generated": "generated"}[
        st.session_state.get("phase") or "everywhere"
    ]
    return Tool(kind if kind in kinds else kinds[0], float(st.session_state.get("value", 2.0)), phase)


def change_plan(view: View, refs: list[ExpertRef]) -> None:
    """The tool's edit on these experts; what the model cannot do is a sentence, and the plan stays."""
    _edited(view, plan(), refs)


def add_edits(view: View, refs: list[ExpertRef]) -> None:
    """A quick pick makes the plan: these experts with the tool's edit, and nothing else."""
    _edited(view, Plan(), refs)


def _edited(view: View, before: Plan, refs: list[ExpertRef]) -> None:
    try:
        set_plan(toggled(before, refs, chosen_tool(view), view.anatomy, view.store))
    except WorkbenchError as error:
        st.session_state.problem = str(error)


def pick_super(view: View) -> None:
    """Puts the tool's edit on the super experts by the default rule."""
    try:
        if view.store_path is None:
            raise WorkbenchError(
                "Super experts are found in a store, and this model has none; make one under Captures and runs."
            )
        found = list(scores_of(view.store_path, "super_experts").flagged("super expert"))
        if not found:
            raise WorkbenchError(
                "This model has no super experts by the default rule; the page Super experts shows the sizes."
            )
    except WorkbenchError as error:
        st.session_state.problem = str(error)
        return
    add_edits(view, found)


def pick_random(view: View, n: int) -> None:
    """Puts the tool's edit on experts drawn at random."""
    add_edits(view, sorted(random.sample(view.anatomy.refs(), min(n, view.anatomy.n_experts))))
