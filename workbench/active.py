"""What is active on a model in this thread of control: a compiled plan, a recorder, a dose. Read by the hooks.

The state lives in a `ContextVar`, so two threads with different plans on one model do not see each other's edits; hooks are
installed while somebody needs them, count their users, and find nothing to do in everybody else's forwards. A plain thread
starts with an empty context and is not steered: run it in `contextvars.copy_context()`.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from workbench import eager

if TYPE_CHECKING:
    from workbench.compiled import CompiledPlan
    from workbench.dose import Dose, Unlike
    from workbench.plan import Plan
    from workbench.positions import Forward
    from workbench.record import Recorder


@dataclass(frozen=True)
class Active:
    """What is in force on one model, here and now."""

    plan: "Plan | None" = None
    compiled: "CompiledPlan | None" = None
    recorder: "Recorder | None" = None
    dose: "Dose | None" = None
    unlike: "Unlike | None" = None


_NOTHING: Mapping[int, Any] = MappingProxyType({})
_ACTIVE: ContextVar[Mapping[int, Active]] = ContextVar("workbench_active", default=_NOTHING)
_FORWARD: ContextVar[Mapping[int, "Forward"]] = ContextVar("workbench_forward", default=_NOTHING)


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


def current_forward(uid: int) -> "Forward | None":
    """The forward that is running in this context, or the last that ran (under whatever was active then: see `Forward.under`)."""
    return _FORWARD.get().get(uid)


def set_forward(uid: int, forward: "Forward") -> None:
    """Remembers the forward that starts now."""
    _FORWARD.set({**_FORWARD.get(), uid: forward})


class HookPoint(NamedTuple):
    """A place to reach into the model: the kind of place, the layer (-1: the base model) and a number (shared experts)."""

    kind: str
    layer: int
    number: int = 0


class HookPoints:
    """Hooks that exist while somebody needs them. Installing is undone if one of them fails; the last user removes."""

    def __init__(self, register: Callable[[HookPoint], list[Any]]) -> None:
        self._register = register
        self._lock = threading.Lock()
        self._users: dict[HookPoint, int] = {}
        self._handles: dict[HookPoint, list[Any]] = {}

    @contextmanager
    def held(self, points: Iterable[HookPoint]) -> Iterator[None]:
        """Keeps `points` installed during the block."""
        taken: list[HookPoint] = []
        eager.enter()
        try:
            for point in points:
                self._take(point)
                taken.append(point)
            yield
        finally:
            for point in reversed(taken):
                self._leave(point)
            eager.leave()

    def _take(self, point: HookPoint) -> None:
        with self._lock:
            if point not in self._handles:
                self._handles[point] = self._register(point)
            self._users[point] = self._users.get(point, 0) + 1

    def _leave(self, point: HookPoint) -> None:
        with self._lock:
            self._users[point] -= 1
            if not self._users[point]:
                del self._users[point]
                for handle in self._handles.pop(point):
                    handle.remove()
