"""Taking turns at one model: first come, first served, everybody sees their place, and who has left is passed over."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Left(Exception):
    """The one who waited has gone."""


class Turns:
    """A fair lock. Tickets are any objects; `place` is 0 for who has the turn, 1 for who is next, None for nobody."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._queue: list[object] = []

    def place(self, ticket: object) -> int | None:
        """Where this ticket stands."""
        with self._changed:
            return next((i for i, other in enumerate(self._queue) if other is ticket), None)

    @property
    def waiting(self) -> int:
        """How many have or want the turn."""
        with self._changed:
            return len(self._queue)

    @contextmanager
    def turn(self, ticket: object, has_left: Callable[[], bool] = lambda: False) -> Iterator[None]:
        """Holds the turn during the block; raises `Left` when `has_left()` becomes true while waiting."""
        with self._changed:
            self._queue.append(ticket)
        try:
            with self._changed:
                while self._queue[0] is not ticket:
                    self._changed.wait(0.1)
                    if has_left():
                        raise Left
            yield
        finally:
            with self._changed:
                self._queue = [other for other in self._queue if other is not ticket]
                self._changed.notify_all()
