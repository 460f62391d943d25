"""What runs in processes of Ray: a worker with an object of its own, and the board that is told how far each is."""

import os
import time
import warnings
from collections.abc import Callable
from typing import Any

from workbench.progress import Progress, Report

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
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            if self._made is None:
                who = f"{place[0]}/{os.getpid()}"
                self._made = make(*place, _now_and_then(lambda progress: board.tell.remote(who, progress)))
            found = getattr(self._made, method)(*given)
        return found, tuple(str(one.message) for one in warned)


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


def _now_and_then(tell: Report) -> Report:
    last = [float("-inf")]

    def say(progress: Progress) -> None:
        if progress.message or time.monotonic() - last[0] > _EVERY or progress.done >= progress.total:
            last[0] = time.monotonic()
            tell(progress)

    return say
