"""What a count takes, in memory and time, said before it starts; more than the limit is refused in a sentence."""

from typing import NamedTuple

from workbench.errors import WorkbenchError
from workbench.progress import Progress, ProgressLines, duration, megabytes

SHORT, SMALL = 1.0, 100e6
"""Seconds and bytes below which nothing is said: the answer is there before the sentence is read."""


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
    if work.size > SMALL or work.seconds > SHORT:
        ProgressLines()(Progress(0, 0, 0.0, f"{work}."))
