"""Captures that run beside the pages: threads that take turns at the model, known to every session, stopped by a flag.

A capture gives way: after a forward it hands the model to whoever waits, and queues again. Plans and recorders belong to
the thread's own context, so an answer in between changes nothing in it. Nothing here reads a session: a closed tab stops
no capture.
"""

import logging
import threading
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import streamlit as st

from workbench import Plan, PromptSet, WorkbenchError
from workbench.capturing import Options, capture_with
from workbench.progress import Progress

from ..session import Left, Machine

State = Literal["waiting", "running", "done", "stopped", "failed"]
_KEPT = 50  # ended captures that are remembered


class _Stopped(Exception):
    """Somebody pressed Stop."""


@dataclass(frozen=True, eq=False)
class Wanted:
    """What to capture: prompts, the plan in force (empty: none), and how."""

    prompts: PromptSet
    plan: Plan
    options: Options


@dataclass(eq=False)
class Job:
    """One capture. Its thread writes `state`, `progress` and `said`; pages read them, and set `stopping`."""

    name: str
    path: Path
    owner: str
    machine: Machine
    wanted: Wanted
    state: State = "waiting"
    progress: Progress | None = None
    said: str = ""
    stopping: threading.Event = field(default_factory=threading.Event)

    @property
    def is_active(self) -> bool:
        """Whether its thread still works or waits."""
        return self.state in ("waiting", "running")

    def run(self) -> None:
        """The thread's work: never raises, always ends in a state."""
        try:
            with ExitStack() as turn:
                self.take_turn(turn)
                store = self._capture(turn)
            self.said = f"{store.n_prompts:,} prompts, {store.manifest['rows'].get('tokens', 0):,} tokens."
            self.state = "done"
        except (_Stopped, Left):
            self.said, self.state = "Stopped; what is complete is kept, and Resume goes on from there.", "stopped"
        except WorkbenchError as error:
            self.said, self.state = str(error), "failed"
        except Exception as error:
            logging.getLogger("workbench").exception("the capture '%s' failed", self.name)
            self.said = f"It failed ({type(error).__name__}); the server's log has the cause."
            self.state = "failed"

    def _capture(self, turn: ExitStack) -> Any:
        wanted, model = self.wanted, self.machine.model
        report = partial(self.report, turn)
        plan = wanted.plan or None
        return capture_with(model, wanted.prompts, self.path, wanted.options, plan=plan, progress=report)

    def take_turn(self, turn: ExitStack) -> None:
        self.state = "waiting"
        turn.enter_context(self.machine.turns.turn(self, self.stopping.is_set))
        self.state = "running"

    def report(self, turn: ExitStack, progress: Progress) -> None:
        """After every forward: stop, or let the others have the model."""
        if not progress.message:
            self.progress = progress
        if self.stopping.is_set():
            raise _Stopped
        if self.machine.turns.waiting > 1:
            turn.close()
            self.take_turn(turn)


class Jobs:
    """Every capture that this server started."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.listed: list[Job] = []

    def start(self, job: Job) -> None:
        """Runs it in a thread. Raises `WorkbenchError` when one is at work on that store."""
        with self._lock:
            if any(other.is_active and other.path == job.path for other in self.listed):
                raise WorkbenchError(f"'{job.name}' is being captured now; wait for it, or choose another name.")
            self.listed = [job, *(other for other in self.listed if other.path != job.path)][:_KEPT]
        threading.Thread(target=job.run, name=f"capture {job.name}", daemon=True).start()

    def all(self) -> list[Job]:
        """The last first."""
        with self._lock:
            return list(self.listed)

    def active_on(self, path: Path) -> bool:
        """Whether one is at work on this store."""
        return any(job.is_active and job.path == path for job in self.all())

    def forget(self, job: Job) -> None:
        """Takes an ended one off the list."""
        with self._lock:
            self.listed = [other for other in self.listed if other is not job or job.is_active]


@st.cache_resource(show_spinner=False)
def jobs() -> Jobs:
    """The one list of this server."""
    return Jobs()
