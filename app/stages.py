"""The stages of a long piece of work: a bar with time left on a terminal, a line per stage elsewhere, and their seconds."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from .terminal import note, progress_bar


@dataclass
class Stages:
    """Counts units of work as stages end; `seconds` says how long each took."""

    advance: Callable[[str, int], None]
    seconds: dict[str, float] = field(default_factory=dict[str, float])

    @contextmanager
    def stage(self, what: str, units: int) -> Iterator[None]:
        """One stage of about so many units of work."""
        self.advance(what, 0)
        started = time.perf_counter()
        yield
        self.seconds[what] = round(time.perf_counter() - started, 2)
        self.advance(what, units)


@contextmanager
def stages(units: int) -> Iterator[Stages]:
    """Shows the progress of so many units of work on stderr."""
    with progress_bar() as bar:
        task = bar.add_task("", total=units)

        def advance(what: str, done: int) -> None:
            if not bar.console.is_terminal and not done:
                note(what)
            bar.update(task, description=what, advance=done)

        yield Stages(advance)
