"""The measurement of attention sinks on the page: whom to mute, a button, the chart, and the dose."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from workbench import ExpertRef, Plan, Store, WorkbenchError
from workbench.comparison import SinkShare, sinks_of
from workbench.routing import Dose, DoseCounts

from ..session import View, identity
from ..widgets import BASE, STEERED, chart, titled, visible

if TYPE_CHECKING:
    from probes import ExpertScores
    from workbench import MoEModel

LONGEST = 128
"""Tokens of a prompt that are read: the first token's share shows in few, and others wait for the model meanwhile."""


class Sinks(NamedTuple):
    """Attention on the first token without the plan and under it, the plan's dose, and the plan as text."""

    base: SinkShare
    muted: SinkShare
    dose: DoseCounts
    plan: str


def sinks_panel(view: View, scores: "ExpertScores") -> tuple[list[ExpertRef], int]:
    """Draws the panel; whom it would mute, and on how many prompts, for the panel below."""
    st.subheader("Attention sinks, with and without muting", divider="gray")
    st.text("Share of attention on the first token. Muting super experts should let it decay where it rests on them.")
    refs = whom(scores)
    n = st.number_input("Prompts of the store", 1, 64, 8, key="sinks-n")
    assert view.store_path is not None
    key = (view.name, view.anatomy.fingerprint, view.store_name, identity(view.store_path), tuple(refs), int(n))
    if st.button(f"Measure with {', '.join(map(str, refs[:6]))} muted", key="sinks-run", disabled=not refs):
        st.session_state["sinks"] = (key, measured_sinks(view, Plan.mute(refs), int(n)))
    last = st.session_state.get("sinks")
    if last is None or last[0] != key:
        st.text("Not measured yet: the model runs each prompt twice, with eager attention, when you press the button.")
    else:
        _draw(last[1])
    return refs, int(n)


def whom(scores: "ExpertScores") -> list[ExpertRef]:
    """The super experts; where there are none, those with the largest values, said so."""
    found = list(scores.flagged("super expert"))
    if found:
        st.text(f"Super experts by this rule: {', '.join(map(str, found))}.")
        return found
    values: Any = scores.frame["score"]
    some = int((values > 0).sum())
    if not some:
        st.text("No expert of this store has a magnitude; capture one with norms.")
        return []
    n = st.number_input("Experts to mute", 1, min(some, 50), min(some, 3), key="sinks-top")
    st.text("No expert is a super expert by this rule: those with the largest values are muted instead.")
    return list(scores.top(int(n)))


def measured_sinks(view: View, plan: Plan, n: int) -> Sinks:
    assert view.store is not None
    prompts, plan = prompt_ids(view.store, n), plan.for_model(view.anatomy).check(view.anatomy)
    with measuring(view) as bar:
        return measured(view.machine.model, prompts, plan, lambda done: _at(bar, done))


@contextmanager
def measuring(view: View) -> Iterator[Any]:
    """The model's turn, once it has come, with a bar that tells of the wait and can tell of the work."""
    bar, ticket, turns = st.progress(0.0, "Waiting for the model ..."), object(), view.machine.turns

    def waiting() -> bool:
        bar.progress(
            0.0, f"Waiting for the model, place {turns.place(ticket) or 0} ..."
        )  # raises when the tab has gone
        return False

    with turns.turn(ticket, waiting):
        yield bar
    bar.empty()


def prompt_ids(store: Store, n: int) -> list[list[int]]:
    """Of the first n prompts of the store those of two tokens and more, as token ids, cut to `LONGEST`."""
    tokens: Any = store.tokens
    if tokens["token_id"].isna().all():
        raise WorkbenchError("This store was captured without text, so its prompts are unknown; choose another store.")
    chosen, length = store.prompt_ids[:n], dict(zip(store.prompts["prompt_id"], store.prompts["n_tokens"], strict=True))
    first = tokens[tokens["prompt_id"].isin(chosen) & (tokens["sample"] == 0)]
    ids = {name: rows["token_id"].astype(int).tolist() for name, rows in first.groupby("prompt_id", observed=True)}
    found = [cut for name in chosen if len(cut := ids.get(name, [])[: min(length[name], LONGEST)]) > 1]
    if not found:
        raise WorkbenchError("No prompt of this store has two tokens or more; choose another store.")
    return found


def measured(model: "MoEModel", rows: list[list[int]], plan: Plan, tell: Callable[[float], None]) -> Sinks:
    """Reads each row without the plan and with it. The caller holds the model's turn; `tell` hears the share done."""
    dose, done = Dose(), 0

    def step(n: int) -> None:
        nonlocal done
        done += n
        tell(done / (2 * len(rows)))

    base = sinks_of(model, rows, step=step).together()
    muted = sinks_of(model, rows, plan, dose=dose, step=step).together()
    return Sinks(base, muted, dose.counts(), str(plan))


def _at(bar: Any, done: float) -> None:
    bar.progress(done, f"Measuring, {done:.0%} ...")


def _draw(found: Sinks) -> None:
    base, muted = found.base.by_layer(), found.muted.by_layer()
    frame = pd.DataFrame({"layer": [str(n) for n in base], "base": base.values(), "muted": muted.values()})
    drawn = go.Figure()
    for column, colour, symbol in (("base", BASE, "circle"), ("muted", STEERED, "diamond")):
        marker, line = {"color": colour, "symbol": symbol}, {"color": colour}
        drawn.add_trace(
            go.Scatter(
                x=frame["layer"], y=100 * frame[column], name=column, mode="lines+markers", marker=marker, line=line
            )
        )
    drawn.update_xaxes(title="layer", type="category")
    drawn.update_yaxes(title="attention on the first token, %", rangemode="tozero")
    chart(
        titled(drawn, "Attention sinks, base against muted", legend={"orientation": "h", "y": -0.2}),
        "sinks-chart",
        frame,
    )
    st.text(
        f"Mean over layers: {found.base.share.mean():.1%} base, {found.muted.share.mean():.1%} muted.\n"
        f"Plan: {visible(found.plan)}\nDose: {found.dose}."
    )
