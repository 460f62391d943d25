"""One planted mistake: a piece of text of one file and what stands there instead."""

from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]


class Mutant(NamedTuple):
    """A mistake in `file` at character `start`: `old` becomes `new`.

    kind   "by hand", or the operator that made it
    why    what a user would see; of a drawn one, empty
    tests  node ids of the tests that are to notice it; of a drawn one, empty (those that cover its line run)
    """

    file: str
    start: int
    old: str
    new: str
    kind: str
    why: str = ""
    tests: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What the results call it; two mutants of one commit never share it."""
        return f"{self.file}@{self.start}:{self.kind}:{self.new}"

    def line(self, root: Path = ROOT) -> int:
        """The line where it starts, counted from 1."""
        return (root / self.file).read_text(encoding="utf-8").count("\n", 0, self.start) + 1

    def lines(self, root: Path = ROOT) -> range:
        """The lines that `old` stands on."""
        first = self.line(root)
        return range(first, first + self.old.rstrip("\n").count("\n") + 1)

    def applied(self, text: str) -> str:
        """The file's text with the mistake. Raises `ValueError` where the text is another."""
        end = self.start + len(self.old)
        if text[self.start : end] != self.old:
            raise ValueError(f"{self.file} does not hold {self.old!r} at {self.start}")
        return text[: self.start] + self.new + text[end:]
