"""One process with a model of its own: it takes shards of a store that nobody holds, until all are written."""

import os
import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from workbench.anatomy import parse_experts
from workbench.progress import Progress

_EVERY = 0.5
"""Seconds between two tellings."""


class Work(NamedTuple):
    """What all replicas are asked alike.

    source, how  of `load`; prompts, into, words  of `capture`, where experts may be text that needs the model to be read
    """

    source: str
    how: Mapping[str, Any]
    prompts: Any
    into: str
    words: Mapping[str, Any]


def work(given: Work, rank: int, world: int, tell: Callable[[Progress], None]) -> tuple[str, ...]:
    """Loads the model and captures beside the others; what was warned of. Raises `WorkbenchError` as `capture` does.

    tell: how far this replica is, now and then
    """
    from workbench.capturing import capture  # in the replica's process: the one that asks needs no torch
    from workbench.loading import load

    model, words = load(given.source, **given.how), dict(given.words)
    if isinstance(words.get("experts"), str):
        words["experts"] = parse_experts(words["experts"], model.anatomy)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        capture(model, given.prompts, given.into, shard=(rank, world), progress=_now_and_then(tell), **words)
    return tuple(str(one.message) for one in warned)


def _now_and_then(tell: Callable[[Progress], None]) -> Callable[[Progress], None]:
    last = [float("-inf")]

    def say(progress: Progress) -> None:
        if progress.message or time.monotonic() - last[0] > _EVERY or progress.done >= progress.total:
            last[0] = time.monotonic()
            tell(progress)

    return say


class Replica:
    """An actor's side of `work`. One that is begun again in a lost one's place goes on with the same store."""

    def work(self, given: Work, rank: int, world: int, board: Any) -> tuple[str, ...]:
        """As `work`; the board is an actor that is told."""
        return work(given, rank, world, lambda progress: board.tell.remote(f"{rank}/{os.getpid()}", progress))


class Board:
    """An actor's side of the bar: how far every replica was when it last said so, one that was lost included."""

    def __init__(self) -> None:
        self.told: dict[str, Progress] = {}
        self.messages: list[str] = []

    def tell(self, who: str, progress: Progress) -> None:
        """Keeps it; a message of one replica stands for the same one of all."""
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
