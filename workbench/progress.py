"""Progress of a long piece of work: plain lines on stderr, or whatever the caller draws from the same numbers."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TextIO


@dataclass(frozen=True)
class Progress:
    """How far a piece of work is, in `unit`s. `total` is an upper bound when it generates."""

    done: int
    total: int
    seconds: float
    message: str = ""
    unit: str = "tokens"

    @property
    def tokens_per_second(self) -> float:
        """Since this process began."""
        return self.done / self.seconds if self.seconds else 0.0

    @property
    def seconds_left(self) -> float | None:
        """At the present speed; None before anything is done, 0 where more is done than was thought."""
        return max(self.total - self.done, 0) / self.tokens_per_second if self.done else None

    @property
    def percent(self) -> float:
        """At most 100."""
        return min(100 * self.done / self.total, 100.0) if self.total > 0 else 100.0

    def __str__(self) -> str:
        left = "" if self.seconds_left is None else f", {duration(self.seconds_left)} left"
        numbers = (
            f"{self.percent:3.0f} % of {self.total:,} {self.unit}, {self.tokens_per_second:,.0f} {self.unit}/s{left}"
        )
        return self.message or numbers


class Transfer(Progress):
    """How far a download is, in bytes of what was still to come."""

    def __str__(self) -> str:
        left = "" if self.seconds_left is None else f", {duration(self.seconds_left)} left"
        return (
            self.message
            or f"{self.percent:3.0f} % of {megabytes(self.total)}, {megabytes(self.tokens_per_second)}/s{left}"
        )


Report = Callable[[Progress], None]


class ProgressLines:
    """Rewrites one line on a terminal every quarter second; elsewhere writes a line every ten seconds."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stderr
        self.terminal = self.stream.isatty()
        self.last = time.monotonic()

    def __call__(self, progress: Progress) -> None:
        over = progress.done >= progress.total and not progress.message
        waited = time.monotonic() - self.last > (0.25 if self.terminal else 10)
        if not (waited or over or progress.message):
            return
        self.last = time.monotonic()
        if self.terminal:
            end = "\n" if over or progress.message else ""
            bar = "" if progress.message else f"{_bar(progress)} "
            self.stream.write(f"\r\033[K{bar}{progress}{end}")
        elif waited or progress.message:
            self.stream.write(f"{progress}\n")
        self.stream.flush()


class Meter:
    """Counts tokens, or what `unit` says, and reports them."""

    def __init__(self, total: int, report: Report | None, unit: str = "tokens") -> None:
        self.total, self.report, self.unit = total, report, unit
        self.done, self.forwards = 0, 0
        self.start = time.monotonic()

    def say(self, message: str) -> None:
        """Reports a sentence."""
        self._send(message)

    def forwarded(self, tokens: int) -> None:
        """A forward over so many real tokens ended."""
        self.done += tokens
        self.forwards += 1
        self._send()

    def skip(self, tokens: int) -> None:
        """Tokens that will not come: responses ended early, or somebody else did them."""
        self.total -= tokens
        self._send()

    def _send(self, message: str = "") -> None:
        if self.report is not None:
            self.report(Progress(self.done, self.total, time.monotonic() - self.start, message, self.unit))


def _bar(progress: Progress, width: int = 24) -> str:
    filled = width * progress.done // progress.total if progress.total > 0 else width
    return "#" * min(filled, width) + "." * (width - filled)


def duration(seconds: float) -> str:
    """Seconds as people say them: 8 s, 3 min 20 s, 2 h 05 min."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def megabytes(size: float) -> str:
    """A size in bytes as people say it: 93 MB, 0.4 MB."""
    return f"{size / 1e6:,.0f} MB" if size >= 1e7 else f"{size / 1e6:.1f} MB"
