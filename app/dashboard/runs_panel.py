"""Experiment runs of the project: their plan for this session, their report as a download, never shown as a page here."""

from datetime import datetime
from functools import partial
from pathlib import Path

import pandas as pd
import streamlit as st

from workbench import Plan, WorkbenchError

from .literal import escaped, visible
from .view import View, plan, set_plan

_REPORT, _PLAN = "report.html", "plan.json"


def runs_panel(view: View) -> None:
    """Draws the list of runs and what can be done with one."""
    st.subheader("Experiment runs", divider="gray")
    runs = _inside(view)
    if not runs:
        st.text("No run in runs/ of this project yet; `workbench demo --out runs/demo` makes one.")
        return
    st.dataframe(_rows(runs), hide_index=True)
    a, b, c = st.columns([3, 1, 1], vertical_alignment="bottom")
    name = a.selectbox("Run", list(runs), key="runs-one", format_func=visible)
    path = runs[name]
    if b.button("Load its plan", key="runs-load", disabled=not (path / _PLAN).is_file()):
        _load(view, path)
    if (path / _REPORT).is_file():
        # a download alone: opened from here its scripts would run with this page's rights
        read = partial(_bytes, path / _REPORT)
        c.download_button(
            "Report", read, f"{path.name}.html", "application/octet-stream", key="runs-report", on_click="ignore"
        )
    else:
        c.text("no report")
    st.text(f"This session's plan: {visible(plan())}")


def _inside(view: View) -> dict[str, Path]:
    """The catalog's runs whose files lie in the project: a link may lead out."""
    root = view.catalog.project.resolve()
    files = (_PLAN, _REPORT)
    return {
        name: path
        for name, path in view.catalog.runs().items()
        if all((path / file).resolve().is_relative_to(root) for file in files)
    }


def _rows(runs: dict[str, Path]) -> pd.DataFrame:
    rows = [
        (visible(name), visible(_said(path)), "yes" if (path / _REPORT).is_file() else "no", _changed(path))
        for name, path in runs.items()
    ]
    return pd.DataFrame(rows, columns=["run", "plan", "report", "changed"])


def _said(path: Path) -> str:
    if not (path / _PLAN).is_file():
        return "none"
    try:
        return str(Plan.from_json(path / _PLAN))
    except WorkbenchError:
        return "cannot be read"


def _changed(path: Path) -> datetime:
    return datetime.fromtimestamp(round(path.stat().st_mtime))


def _load(view: View, path: Path) -> None:
    try:
        set_plan(Plan.from_json(path / _PLAN).for_model(view.anatomy).check(view.anatomy))
    except WorkbenchError as error:
        st.error(escaped(str(error).replace(str(path / _PLAN), f"runs/{path.name}/{_PLAN}")), icon=":material/error:")


def _bytes(path: Path) -> bytes:
    return path.read_bytes()
