"""What is active on a model in this thread of control: a compiled plan, a recorder, a dose. Read by the hooks.

The state lives in a `ContextVar`, so two threads with different plans on one model do not see each other's edits; hooks are
installed while somebody needs them, count their users, and find nothing to do in everybody else's forwards. A plain thread
starts with an empty context and is not steered: run it in `contextvars.copy_context()`.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from workbench.plan.plan import Plan
from workbench.records.recorder import Recorder
from workbench.routing.compiled import CompiledPlan
from workbench.routing.dose import Dose, Unlike
from workbench.routing.positions import Forward


@dataclass(frozen=True)
class Active:
    """What is in force on one model, here and now."""

    plan: Plan | None = None
    compiled: CompiledPlan | None = None
    recorder: Recorder | None = None
    dose: Dose | None = None
    unlike: Unlike | None = None


_NOTHING: Mapping[int, Any] = MappingProxyType({})
_ACTIVE: ContextVar[Mapping[int, Active]] = ContextVar("workbench_active", default=_NOTHING)
_FORWARD: ContextVar[Mapping[int, Forward]] = ContextVar("workbench_forward", default=_NOTHING)


def active(uid: int) -> Active | None:
    """What is in force on the model `uid` in this context."""
    return _ACTIVE.get().get(uid)


@contextmanager
def activate(uid: int, **changes: Any) -> Iterator[Active]:
    """Puts `changes` into force on the model `uid` until the block ends, however it ends."""
    now = replace(active(uid) or Active(), **changes)
    token = _ACTIVE.set({**_ACTIVE.get(), uid: now})
    try:
        yield now
    finally:
        _ACTIVE.reset(token)


def current_forward(uid: int) -> Forward | None:
    """The forward that is running in this context, or the last that ran (under whatever was active then: see `Forward.under`)."""
    return _FORWARD.get().get(uid)


def set_forward(uid: int, forward: Forward) -> None:
    """Remembers the forward that starts now."""
    _FORWARD.set({**_FORWARD.get(), uid: forward})


def running(uid: int, now: Active) -> Forward | None:
    """The forward that runs, or None where the base model did not run under what is active now (a layer by itself)."""
    forward = current_forward(uid)
    return forward if forward is not None and forward.under is now else None


def running_here(uid: int, now: Active) -> Forward:
    """The forward that runs; its places are hooked whenever this is asked."""
    forward = running(uid, now)
    assert forward is not None
    return forward
