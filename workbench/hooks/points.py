"""Places in a model that can be hooked, and their hooks: there while somebody needs them, gone with the last user."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from workbench.model import enter, leave


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
        enter()
        try:
            for point in points:
                self._take(point)
                taken.append(point)
            yield
        finally:
            for point in reversed(taken):
                self._leave(point)
            leave()

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
