"""The form for a new capture: prompts, what to keep, the plan, how big it will be, and Start."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from workbench import Plan, PromptSet, WorkbenchError
from workbench.capturing import Estimate, Options, check_disk, make_request
from workbench.generation import SHARD_TOKENS
from workbench.shards import SAMPLED

from ..session import View, plan, session
from ..widgets import sentence, visible
from .jobs import Job, Wanted, jobs
from .prompt_sources import chosen_prompts
from .unfinished import keep_prompts

if TYPE_CHECKING:
    from workbench import MoEModel

_KEEP = ("norms", "residual", "logits", *SAMPLED, "matrices", "routers", "directions", "alignments")
_KEEP_HELP = (
    "Beside the routing, which is always kept. norms: size of each expert's output; residual: size of the residual stream; "
    "logits: every router logit; outputs: every expert's output vector, which is large; router_input: what each router reads; "
    "inner: the neurons of the selected experts, large as well; matrices: sums over each expert's own weights; routers: their "
    "rows; directions: the words that experts and neurons read and write, minutes for a large model; "
    "alignments: how alike the weights of two experts are, whatever the order of their neurons, hours for a large model"
)
_BATCH = 2048  # small batches: Stop waits for one forward
_SHARDS = 20  # a stopped capture repeats at most about a twentieth


def capture_form(view: View) -> None:
    """Draws the form; Start begins the capture in the background."""
    st.subheader("New capture", divider="gray")
    prompts = chosen_prompts(view)
    if prompts is None:
        return
    try:
        wanted = _wanted(prompts)
        expected = _estimate(view, wanted)
        name = _name(view, Path(prompts.source).stem or "prompts")
        st.text(f"{len(prompts):,} prompts, {expected}")
        if st.button("Start", type="primary", key="capture-start"):
            start_capture(view, name, wanted, expected)
    except WorkbenchError as error:  # the form stays
        st.error(sentence(error), icon=":material/error:")


def _name(view: View, source: str) -> str:
    free = free_name(view, source)  # once taken, the next free name is offered
    return st.text_input("Name of the store", free, key=f"capture-name-{free}", max_chars=60)


def _wanted(prompts: PromptSet) -> Wanted:
    a, b = st.columns(2)
    keep = a.multiselect("Keep", _KEEP, ["norms", "residual"], key="capture-keep", help=_KEEP_HELP)
    given = any(p.response is not None for p in prompts) and b.checkbox("Run the given responses", key="capture-given")
    tokens = 0 if given else int(b.number_input("Generate tokens", 0, 4096, 16, key="capture-generate"))
    with st.expander("More options"):
        c, d, e = st.columns(3)
        temperature = c.number_input("Temperature (0: greedy)", 0.0, 5.0, 0.0, 0.1, key="capture-temperature")
        samples = d.number_input("Samples", 1, 64, 1, key="capture-samples", help="Needs a temperature above 0")
        seed = e.number_input("Seed", 0, 2**31 - 1, 0, key="capture-seed")
        keep = _of_a_share(keep)
    steer = bool(plan()) and st.checkbox("Under this session's plan", key="capture-steered")
    if plan():
        st.text(f"The plan: {visible(plan())}")
    options = Options(
        keep=keep,
        generate=tokens,
        samples=int(samples),
        temperature=temperature,
        batch_tokens=_BATCH,
        seed=int(seed),
        responses=given or None,
    )
    return Wanted(prompts, plan() if steer else Plan(), options)


def _of_a_share(keep: Sequence[str]) -> Sequence[str]:
    """What is large may be kept of some tokens alone, which the seed draws."""
    large = [name for name in keep if name in SAMPLED]
    if not large:
        return keep
    label = f"Keep {', '.join(large)} of this share of the tokens"
    share = st.number_input(label, 0.001, 1.0, 1.0, 0.1, key="capture-share", format="%.3f")
    return [f"{name}:{share:g}" if name in SAMPLED else name for name in keep]


# ---- how big, and the start


def _estimate(view: View, wanted: Wanted) -> Estimate:
    fingerprints = view.anatomy.fingerprint, wanted.prompts.fingerprint
    return estimated(view.machine.model, wanted.prompts, *fingerprints, wanted.options)


@st.cache_resource(max_entries=64, show_spinner="Counting tokens ...")
def estimated(_model: "MoEModel", chosen_prompts: PromptSet, model: str, prompts: str, options: Options) -> Estimate:
    return make_request(_model, chosen_prompts, options).estimate


def free_name(view: View, source: str) -> str:
    """A name that no store has yet."""
    stem = "".join(c if c.isalnum() or c in "-_." else "-" for c in source).lstrip(".")[:40] or "store"
    names = (stem if n == 1 else f"{stem}-{n}" for n in range(1, 10_000))
    return next(name for name in names if not view.catalog.new_store(name).exists())


def start_capture(view: View, name: str, wanted: Wanted, expected: Estimate) -> None:
    path = view.catalog.new_store(name)
    if path.exists() or jobs().active_on(path):
        raise WorkbenchError(f"There is a store '{name}' already; choose another name, or resume it below.")
    check_disk(path, expected)
    shard = max(_BATCH, min(SHARD_TOKENS, expected.tokens // _SHARDS))
    job = Job(
        f"stores/{name}",
        path,
        session(),
        view.machine,
        Wanted(wanted.prompts, wanted.plan.check(view.anatomy), replace(wanted.options, shard_tokens=shard)),
    )
    keep_prompts(view.catalog, path, wanted.prompts)
    jobs().start(job)
    st.rerun()
