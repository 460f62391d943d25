"""What a count takes, in memory and time, said before it starts; more than the limit is refused in a sentence."""

from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

from workbench.errors import WorkbenchError
from workbench.progress import Progress, ProgressLines, duration, megabytes

if TYPE_CHECKING:
    from workbench.store import Store

SHORT, SMALL = 1.0, 100e6
"""Seconds and bytes below which nothing is said: the answer is there before the sentence is read."""


_only_ahead: ContextVar[bool] = ContextVar("only_ahead", default=False)


class Work(NamedTuple):
    """An estimate."""

    what: str
    size: float
    """Bytes held at once."""
    seconds: float

    def __str__(self) -> str:
        return f"{self.what}: {megabytes(self.size)} of memory and about {duration(max(self.seconds, 1))}"


def begun(work: Work, limit_mb: int, smaller: str) -> None:
    """Says on stderr what is about to start, if it is not small. Raises `WorkbenchError` when it is over the limit.

    smaller  what makes it smaller, to end the sentence with
    """
    if work.size > limit_mb * 1e6:
        raise WorkbenchError(f"{work}, which is over limit_mb={limit_mb}; {smaller}, or raise limit_mb.")
    said = f"{work}." if work.size > SMALL or work.seconds > SHORT else ""
    if _only_ahead.get():
        raise _Said(said)
    if said:
        ProgressLines()(Progress(0, 0, 0.0, said))


def ahead(probe: Callable[..., Any], store: "Store", **options: Any) -> str:
    """What a probe whose entry says `ahead` would say before it starts, empty where that is nothing; it goes no further.

    Raises `WorkbenchError` where the probe refuses by then.
    """
    before = _only_ahead.set(True)
    try:
        probe(store, **options)
    except _Said as said:
        return str(said)
    finally:
        _only_ahead.reset(before)
    raise TypeError(f"{probe.__name__} answered and never said what it takes; take `ahead` from its entry")


class _Said(Exception):
    """Ends a probe that was only to say what it takes."""
