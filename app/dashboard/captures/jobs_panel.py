"""Captures at work: how far, how fast, how long still, and a button that stops them."""

import streamlit as st

from ..session import is_there, session
from ..widgets import escaped, visible
from .jobs import Job, jobs

_EVERY = 0.7  # seconds between two looks at a running capture


def jobs_panel() -> None:
    """Draws the captures; the panel refreshes by itself while one is active, and the page when one has ended."""
    active = _active()
    st.fragment(draw_jobs, run_every=_EVERY if active else None)(active)


def _active() -> frozenset[int]:
    return frozenset(id(job) for job in jobs().all() if job.is_active)


def draw_jobs(before: frozenset[int]) -> None:
    if before != _active():
        st.rerun()  # the lists below change too
    shown = [job for job in jobs().all() if job.is_active or job.owner == session()]
    if not shown:
        return
    st.subheader("At work", divider="gray")
    for number, job in enumerate(shown):
        _one(job, f"job-{number}")


def _one(job: Job, key: str) -> None:
    left, right = st.columns([5, 1], vertical_alignment="center")
    if not job.is_active:
        how = {"done": left.success, "stopped": left.info}.get(job.state, left.error)
        how(escaped(f"{job.name}: {job.said}"))
        right.button("Dismiss", key=f"{key}-dismiss", on_click=jobs().forget, args=(job,))
        return
    left.progress(_share(job), escaped(_said(job)))
    if job.owner == session() or not is_there(job.owner):  # nobody else could stop what a closed tab left behind
        right.button("Stop capture", key=f"{key}-stop", on_click=job.stopping.set, disabled=job.stopping.is_set())
    else:
        right.text("another session's")


def _share(job: Job) -> float:
    found = job.progress
    return min(1.0, found.done / found.total) if found is not None and found.total > 0 else 0.0


def _said(job: Job) -> str:
    if job.stopping.is_set():
        return f"{visible(job.name)}: stopping after this forward ..."
    place = job.machine.turns.place(job)
    waits = f" (waiting for the model, place {place})" if job.state == "waiting" and place else ""
    return f"{visible(job.name)}: {job.progress or 'starting ...'}{waits}"
