"""Taking turns at one model: first come, first served, everybody sees their place, and who has left is passed over."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Left(Exception):
    """The one who waited has gone."""


class Turns:
    """A fair lock. Tickets are any objects; `place` is 0 for who has the turn, 1 for who is next, None for nobody."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.queue: list[object] = []

    def place(self, ticket: object) -> int | None:
        """Where this ticket stands."""
        with self.changed:
            return next((i for i, other in enumerate(self.queue) if other is ticket), None)

    @property
    def waiting(self) -> int:
        """How many have or want the turn."""
        with self.changed:
            return len(self.queue)

    @contextmanager
    def turn(self, ticket: object, has_left: Callable[[], bool] = lambda: False) -> Iterator[None]:
        """Holds the turn during the block; raises `Left` when `has_left()` becomes true while waiting."""
        with self.changed:
            self.queue.append(ticket)
        try:
            with self.changed:
                while self.queue[0] is not ticket:
                    self.changed.wait(0.1)
                    if has_left():
                        raise Left
            yield
        finally:
            with self.changed:
                self.queue = [other for other in self.queue if other is not ticket]
                self.changed.notify_all()
