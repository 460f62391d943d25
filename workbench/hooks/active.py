"""What is active on a model in this thread of control: a compiled plan, a recorder, a dose, and the forward that runs under it.

The state lives in a `ContextVar`, so two threads with different plans on one model do not see each other's edits; hooks are
installed while somebody needs them, count their users, and find nothing to do in everybody else's forwards. A plain thread
starts with an empty context and is not steered: run it in `contextvars.copy_context()`.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from torch import Tensor

from workbench.plan import Plan
from workbench.records import Recorder
from workbench.routing import CompiledPlan, Dose, Positions, Unlike


@dataclass(frozen=True)
class Active:
    """What is in force on one model, here and now."""

    plan: Plan | None = None
    compiled: CompiledPlan | None = None
    recorder: Recorder | None = None
    dose: Dose | None = None
    unlike: Unlike | None = None


@dataclass
class Scratch:
    """One forward: the positions that it processes, and what its hooks leave one another. Made as it starts."""

    positions: Positions
    under: Active
    """What was active when it started."""
    cache: Any = None
    changed: Tensor | None = None
    """Tokens that the plan changed so far, bool [tokens]; where a dose counts."""
    taps: dict[int, Any] = field(default_factory=dict[int, Any])
    added: dict[int, list[tuple[Tensor, Tensor]]] = field(default_factory=dict[int, list[tuple[Tensor, Tensor]]])
    rerouted: dict[int, Tensor] = field(default_factory=dict[int, Tensor])
    rerunning: bool = False

    def count(self, changed: Tensor, emptied: Tensor | None = None) -> None:
        """Adds to the dose: slots changed in one layer, bool [tokens, slots], and tokens left without any, bool [tokens]."""
        assert self.under.dose is not None
        assert self.changed is not None
        self.changed = self.under.dose.add(self.positions, self.changed, changed, emptied)


_NOTHING: Mapping[int, Any] = MappingProxyType({})
_ACTIVE: ContextVar[Mapping[int, Active]] = ContextVar("workbench_active", default=_NOTHING)
_FORWARD: ContextVar[Mapping[int, Scratch]] = ContextVar("workbench_forward", default=_NOTHING)


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


def last_forward(uid: int) -> Scratch | None:
    """The forward that is running in this context, or the last that ran (under whatever was active then: see `Scratch.under`)."""
    return _FORWARD.get().get(uid)


def set_forward(uid: int, forward: Scratch) -> None:
    """Remembers the forward that starts now."""
    _FORWARD.set({**_FORWARD.get(), uid: forward})


def running(uid: int, now: Active) -> Scratch | None:
    """The forward that runs, or None where the base model did not run under what is active now (a layer by itself)."""
    forward = last_forward(uid)
    return forward if forward is not None and forward.under is now else None


def positions_here(uid: int, now: Active) -> Positions | None:
    """Those of the forward that runs, if one does."""
    forward = running(uid, now)
    return None if forward is None else forward.positions


def running_here(uid: int, now: Active) -> Scratch:
    """The forward that runs; its places are hooked whenever this is asked."""
    forward = running(uid, now)
    assert forward is not None
    return forward
