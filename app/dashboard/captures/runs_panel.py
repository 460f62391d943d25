"""Experiment runs of the project: verdicts, a plan for this session, and the report as a download, never as a page here."""

from collections.abc import Callable
from datetime import datetime
from functools import partial

import pandas as pd
import streamlit as st

from workbench import Plan, WorkbenchError

from ..session import View, plan, set_plan
from ..widgets import sentence, visible
from .runs import PLAN, Run, claims_of, described, plans_of, runs_inside, state


def runs_panel(view: View) -> None:
    """Draws the list of runs and what can be done with one."""
    st.subheader("Experiment runs", divider="gray")
    runs = {run.name: run for run in runs_inside(view.catalog.runs(), view.catalog.project)}
    if not runs:
        st.text("No run in runs/ of this project yet; workbench demo or workbench run makes one.")
        return
    st.dataframe(_rows(list(runs.values())), hide_index=True)
    a, b, c = st.columns([3, 1, 1], vertical_alignment="bottom")
    run = runs[a.selectbox("Run", list(runs), key="runs-one", format_func=visible)]
    if run.report is None:
        c.text("no report")
    else:
        # a download alone: opened from here its scripts would run with this page's rights
        c.download_button(
            "Report", partial(run.report.read_bytes), f"{run.path.name}.html", "application/octet-stream",
            key="runs-report", on_click="ignore",
        )  # fmt: skip
    if run.is_experiment:
        _experiment(view, run)
    elif b.button("Load its plan", key="runs-load", disabled=not (run.path / PLAN).is_file()):
        use_plan(view, run, lambda: Plan.from_json(run.path / PLAN))
    st.text(f"This session's plan: {visible(plan())}")


def _rows(runs: list[Run]) -> pd.DataFrame:
    rows = [(visible(run.name), visible(described(run)), visible(state(run)), changed_at(run)) for run in runs]
    return pd.DataFrame(rows, columns=["run", "what", "state", "changed"])


def changed_at(run: Run) -> datetime:
    return datetime.fromtimestamp(round(run.path.stat().st_mtime))


def _experiment(view: View, run: Run) -> None:
    """Its claims, and its plans for the model that this session looks at."""
    claims = claims_of(run)
    if claims is not None:
        shown = claims.assign(**{name: claims[name].map(visible) for name in ("text", "model", "metric", "verdict")})
        st.dataframe(shown, hide_index=True)
    plans = plans_of(run, {view.name, view.anatomy.model})
    if not plans:
        st.text("This run has no plan for the model on this page yet.")
        return
    left, right = st.columns([4, 1], vertical_alignment="bottom")
    label = left.selectbox("Plan of the run", list(plans), key="runs-plan", format_func=visible)
    if right.button("Load this plan", key="runs-load"):
        use_plan(view, run, lambda: Plan.parse(plans[label], view.anatomy))


def use_plan(view: View, run: Run, read: Callable[[], Plan]) -> None:
    try:
        set_plan(read().for_model(view.anatomy).check(view.anatomy))
    except WorkbenchError as error:
        st.error(sentence(str(error).replace(str(run.path), f"runs/{run.path.name}")), icon=":material/error:")
