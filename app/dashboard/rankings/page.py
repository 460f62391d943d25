"""The page from top to bottom: a question, its answer as chart and table, a plan of the first, an earlier answer beside it."""

from inspect import getdoc
from typing import Any

import streamlit as st

from probes.catalogue import ASKED
from probes.ranking import ExpertScores, Table
from workbench import WorkbenchError

from ..questions import offer
from ..session import View, ahead_of, scores_of
from ..widgets import answer_table, escaped, ranked_table, selected, sentence, visible
from .probe_options import PROBES, Asked, ask, check
from .ranking_plan import ranking_plan
from .side_by_side import side_by_side
from .two_probes import two_probes
from .volcano import KEY, volcano

_KEPT = 8  # questions that can be compared
_NOTES = 16  # shown at once


def show(view: View) -> None:
    """Draws the page."""
    st.header("Probes")
    st.text("Which experts go with something? A score is association with the prompts of a store, not an effect.")
    if view.store_path is None:
        st.text("No store of this model yet; make one under Captures and runs.")
        return
    history = asked_before(view, question_form(view))
    side_by_side(view, offer(view.store_path))
    if not history:
        st.text("Choose a probe and press Run.")
        return
    try:
        found = _found(view, history[0])
    except WorkbenchError as error:  # the form stays, and nothing is remembered that cannot be asked
        history.pop(0)
        st.error(sentence(error), icon=":material/error:")
        return
    _said(found, history[0])
    answer_table(found, "answer") if isinstance(found, Table) else _answer(view, found, history)


def question_form(view: View) -> Asked | None:
    """The question, when Run was pressed."""
    assert view.store_path is not None
    method = st.selectbox("Probe", list(PROBES), key="probe", format_func=PROBES.__getitem__)
    with st.expander("What it computes, and what its options and columns mean"):
        st.code(getdoc(ASKED[method].load()), language=None, wrap_lines=True)
    if ASKED[method].ahead:
        return _question_with_its_cost(view, method)
    with st.form(f"probe-{method}"):
        asked = ask(method, offer(view.store_path), tuple(view.catalog.stores()))
        return asked if st.form_submit_button("Run", type="primary", key=f"run-{method}") else None


def _question_with_its_cost(view: View, method: str) -> Asked | None:
    """No form: what a form holds is not known before it is sent."""
    assert view.store_path is not None
    with st.container(border=True):
        asked = ask(method, offer(view.store_path), tuple(view.catalog.stores()))
        run, beside = st.columns([1, 5])  # a line that comes above the button would move it away under a click
        with beside:
            refused = not _told_ahead(view, asked)
        return asked if run.button("Run", type="primary", key=f"run-{method}", disabled=refused) else None


def _told_ahead(view: View, asked: Asked) -> bool:
    """Says what the question takes, in the words of the command line, or why it cannot be asked, which is False."""
    assert view.store_path is not None
    try:
        said = ahead_of(view.store_path, asked.method, **_options(view, asked))
    except WorkbenchError as error:
        st.error(sentence(error), icon=":material/error:")
        return False
    if said:
        st.text(visible(said))
    return True


def asked_before(view: View, asked: Asked | None) -> list[Asked]:
    """What this session asked of this store, the last first."""
    kept: dict[str, list[Asked]] = st.session_state.setdefault("probes-asked", {})
    history = kept.setdefault(f"{view.name} {view.store_name}", [])
    if asked is not None:
        history[:] = [asked, *(one for one in history if one != asked)][:_KEPT]
    return history


def _found(view: View, asked: Asked) -> ExpertScores | Table:
    assert view.store_path is not None
    return scores_of(view.store_path, asked.method, **_options(view, asked))


def _options(view: View, asked: Asked) -> dict[str, Any]:
    options = dict(check(asked).options)
    if beside := ASKED[asked.method].beside:  # by its name: no text from a browser opens another file
        options[beside] = view.catalog.store(options[beside])
    return options


def _said(found: ExpertScores | Table, asked: Asked) -> None:
    what, options = "rows" if isinstance(found, Table) else "experts", dict(found.options)
    if beside := ASKED[asked.method].beside:  # its name here, not its place on the server
        options[beside] = dict(asked.options)[beside]
    st.subheader(escaped(f"{found.method} of {len(found.frame):,} {what}"), divider="gray")
    st.text(visible(", ".join(f"{name}={value}" for name, value in options.items() if value is not None)))
    notes = [f"• {visible(note)}" for note in found.notes]
    st.text("\n".join(notes[:_NOTES]))
    if rest := notes[_NOTES:]:  # a note for each layer would push the answer out of sight
        with st.expander(f"{len(rest)} more notes"):
            st.text("\n".join(rest))


def _answer(view: View, scores: ExpertScores, history: list[Asked]) -> None:
    table, plot, pair, made = st.tabs(["Table", "Volcano", "Compare two probes", "Make a plan"])
    with table:
        ranked_table(scores, "ranked")
    with plot:
        volcano(scores, _selected)
    with pair:
        compare_probes(view, scores, history)
    with made:
        ranking_plan(view, scores, selected(KEY))


def _selected() -> None:
    """A click reruns the page, which reads what is selected."""


def compare_probes(view: View, scores: ExpertScores, history: list[Asked]) -> None:
    others = [one for one in history[1:] if ASKED[one.method].ranks]
    if not others:
        st.text("Run a second probe, or this one with other options; it can then be compared with this answer.")
        return
    st.text(f"First: {visible(history[0])}")
    other = _found(view, st.selectbox("Second", others, key="compare-with", format_func=visible))
    assert isinstance(other, ExpertScores)
    two_probes(scores, other)
