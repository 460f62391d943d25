"""What runs in processes of Ray: a worker with an object of its own, and the board that is told how far each is."""

import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from workbench.progress import Progress, Report
from workbench.storage import Waiting, reached_before

Make = Callable[[int, int, Report], Any]
"""Makes a worker's object of its rank, the number of workers, and a function that takes how far it is."""
_EVERY = 0.5
"""Seconds between two tellings."""


class Replica:
    """An actor around an object, made with the first call; one that is begun again in a lost one's place makes it anew."""

    def __init__(self) -> None:
        self._made: Any = None

    def do(
        self, make: Make, place: tuple[int, int], board: Any, method: str, *given: Any
    ) -> tuple[Any, tuple[str, ...]]:
        """What a method of the object answers, and what was warned of meanwhile; place: its rank, and how many there are."""
        tell = _now_and_then(partial(board.tell.remote, f"{place[0]}/{os.getpid()}"))
        with _heard(tell) as warned, reached_before():
            self._made = make(*place, tell) if self._made is None else self._made
            found = getattr(self._made, method)(*given)
        return found, tuple(warned)


class Board:
    """An actor's side of the bar: how far every worker was when it last said so, one that was lost included."""

    def __init__(self) -> None:
        self.told: dict[str, Progress] = {}
        self.messages: list[str] = []

    def tell(self, who: str, progress: Progress) -> None:
        """Keeps it; a message of one worker stands for the same one of all."""
        if progress.message:
            self.messages += [] if progress.message in self.messages else [progress.message]
        else:
            self.told[who] = progress

    def read(self) -> tuple[int, int, list[str]]:
        """Tokens done by all, tokens that there were at most to do, and the messages."""
        return (
            sum(p.done for p in self.told.values()),
            max((p.total for p in self.told.values()), default=0),
            self.messages,
        )


@contextmanager
def _heard(tell: Report) -> Iterator[list[str]]:
    """What is warned of during the block; that object storage is waited for is told at once."""
    heard = list[str]()

    def hear(message: Warning | str, category: type[Warning], *_: Any) -> None:
        if issubclass(category, Waiting):
            tell(Progress(0, 0, 0.0, str(message)))
        else:
            heard.append(str(message))

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = hear
        yield heard


def _now_and_then(tell: Report) -> Report:
    last = [float("-inf")]

    def say(progress: Progress) -> None:
        if progress.message or time.monotonic() - last[0] > _EVERY or progress.done >= progress.total:
            last[0] = time.monotonic()
            tell(progress)

    return say
