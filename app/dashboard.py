"""The page: what a model is made of, a plan put together by clicking, base and steered answers side by side.

Text from the model is shown as text, never as Markdown or HTML. One lock per model: two sessions wait for each other.
"""

import argparse
import threading
from typing import TYPE_CHECKING, NamedTuple

import streamlit as st

from workbench import Plan, PromptSet, WorkbenchError, compare, load, open_store
from workbench.metrics import length
from workbench.prompts import Prompt

from .terminal import plain

if TYPE_CHECKING:
    from workbench import Comparison, MoEModel
    from workbench.anatomy import Anatomy

EDITS = {
    "off": "the router answers as if the expert did not exist",
    "drop": "selected slots get weight 0, no refill",
    "mute": "selection stays, the output contributes nothing",
    "force": "always selected, weighted like the token's best",
}
BUSY_SECONDS = 120.0


class Loaded(NamedTuple):
    """A model and the lock that every generation holds."""

    model: "MoEModel"
    lock: threading.Lock


@st.cache_resource(show_spinner="Loading the model ...")
def loaded(source: str) -> Loaded:
    """The model, once for all sessions."""
    return Loaded(load(source), threading.Lock())


def page(arguments: list[str]) -> None:
    """Draws the page for `--model` and `--store`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="demo")
    parser.add_argument("--store", default=None)
    given = parser.parse_args(arguments)
    st.set_page_config(page_title="MoE Workbench", layout="wide")
    st.title("MoE Workbench")
    try:
        found = loaded(given.model)
        if given.store:
            found.model.anatomy.check_same(open_store(given.store).anatomy.fingerprint, f"The store '{given.store}'")
            st.caption(plain(f"Store: {given.store}"))
        _anatomy(found.model.anatomy)
        plan = _plan(found.model.anatomy)
        _answers(found, plan)
    except WorkbenchError as error:
        st.error(_literal(str(error)))


def _anatomy(anatomy: "Anatomy") -> None:
    """The MoE map as a table."""
    st.text(f"{anatomy.model}: {anatomy.family}, {len(anatomy.moe_layers)} MoE layers, {anatomy.n_experts} experts")
    with st.expander("Layers"):
        rows = [
            {
                "layer": x.layer,
                "experts": x.n_experts,
                "top-k": x.top_k,
                "shared": x.n_shared,
                "rule": str(x.rule or "dense"),
            }
            for x in anatomy.layers
        ]
        st.dataframe(rows, hide_index=True)


def _plan(anatomy: "Anatomy") -> Plan:
    """Experts chosen for each edit, and the plan they make; refused here when the model cannot do it."""
    names = [str(ref) for ref in anatomy.refs()]
    plan = Plan()
    for column, (kind, meaning) in zip(st.columns(len(EDITS)), EDITS.items(), strict=True):
        chosen = column.multiselect(kind, names, help=meaning, key=f"edit-{kind}")
        if chosen:
            plan |= Plan.parse(f"{kind} {','.join(chosen)}", anatomy)
    written = st.text_input("More edits, as text", placeholder="scale L1E4=8; bias L0E2=-1 in generated", key="written")
    plan = (plan | Plan.parse(written, anatomy)).for_model(anatomy).check(anatomy)
    st.text(f"Plan: {plan}")
    return plan


def _answers(found: Loaded, plan: Plan) -> None:
    """The prompt, and both answers with the dose once asked for."""
    with st.form("ask"):
        prompt = st.text_area("Prompt", key="prompt")
        tokens = st.number_input("At most so many tokens", 1, 1024, 64, key="tokens")
        asked = st.form_submit_button("Answer with and without the plan")
    if not asked:
        return
    if not prompt.strip():
        raise WorkbenchError("The prompt is empty; write what the user says.")
    result = _run(found, prompt, plan, int(tokens))
    said = result.responses.iloc[0]
    for column, name in zip(st.columns(2), ("base", "steered"), strict=True):
        column.subheader(name)
        column.text(plain(said[name]) or "(no text)")
    st.text(f"Dose: {result.dose}." if plan else "The plan is empty, so nothing was changed.")


def _run(found: Loaded, prompt: str, plan: Plan, tokens: int) -> "Comparison":
    if not found.lock.acquire(timeout=BUSY_SECONDS):
        raise WorkbenchError(f"Another session has used the model for {BUSY_SECONDS:.0f} s; try again when it is done.")
    try:
        asked = PromptSet((Prompt("prompt", messages=({"role": "user", "content": prompt},)),))
        return compare(found.model, asked, plan, metrics={"length": length}, controls=0, max_new_tokens=tokens)
    finally:
        found.lock.release()


def _literal(text: str) -> str:
    """Text for a place that reads Markdown: every mark that means something there is escaped."""
    return "".join(f"\\{c}" if c in "\\`*_{}[]()#+-.!|<>~$:&" else c for c in plain(text))
