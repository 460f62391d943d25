"""What the command line prints: tables, side-by-side texts and JSON. Text from a model or a file is never markup.

Results go to stdout, everything about the work (progress, notes, errors) to stderr, so that `--json | jq` stays clean.
"""

import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from workbench.storage import jsonable

from .values import plain

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text


_CODE = re.compile(r"`([^`\n]+)`")


@cache
def console(*, stderr: bool = False) -> "Console":
    """The one console of stdout, or of stderr. Nothing is read as markup, emoji codes or highlighted."""
    from rich.console import Console

    return Console(stderr=stderr, markup=False, emoji=False, highlight=False, soft_wrap=False)


def literal(value: Any, style: str = "") -> "Text":
    """Text as it is: no markup, and control characters as their pictures."""
    from rich.text import Text

    return Text(plain(value), style=style)


def said(text: Any) -> str:
    """A sentence as a terminal shows it: code that stands in backticks elsewhere stands in quotes."""
    return _CODE.sub(r"'\1'", str(text))


def say(text: Any = "", style: str = "") -> None:
    """One line of a result. The terminal wraps it, not we: a path stays whole for whoever copies it."""
    console().print(literal(said(text), style), soft_wrap=True)


def note(text: Any) -> None:
    """One line about the work, on stderr."""
    console(stderr=True).print(literal(said(text), "dim"), soft_wrap=True)


def warn(text: Any) -> None:
    """One line that should not be missed, on stderr."""
    console(stderr=True).print(literal(said(text), "yellow"), soft_wrap=True)


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], title: str = "", right: Iterable[str] = ()
) -> None:
    """A table; the columns in `right` are numbers: aligned to the right, and broken over lines only where digits would be lost.

    Where it is wider than the terminal, names of columns are broken at `_`.
    """
    from rich import box
    from rich.table import Table

    ends, cells = set(right), [[plain(cell) for cell in row] for row in rows]
    heads = [*columns] if _fits(columns, cells, [*columns], 2) else [name.replace("_", "_\n") for name in columns]
    numbers = [head for head, name in zip(heads, columns, strict=True) if name in ends]
    between = 2 if _fits(heads, cells, numbers, 2) else 1
    looks: dict[str, Any] = {"box": box.SIMPLE_HEAD, "pad_edge": False, "collapse_padding": True}
    looks["padding"] = (0, between - 1)
    table = Table(**looks, title=literal(title) if title else None, title_justify="left")
    whole = numbers if _fits(heads, cells, numbers, between) else []
    for column, head in zip(columns, heads, strict=True):
        justify = "right" if column in ends else "left"
        table.add_column(literal(head), justify=justify, overflow="fold", no_wrap=head in whole)
    for row in cells:
        table.add_row(*map(literal, row))
    console().print(table)


def _fits(heads: Sequence[str], rows: Sequence[Sequence[str]], whole: Sequence[str], between: int) -> bool:
    """Whether the terminal has room for the columns in `whole`, a character of each other one, and blanks between them."""
    longest = [max(map(len, (*head.split("\n"), *cells))) for head, *cells in zip_longest(heads, *rows, fillvalue="")]
    needed = [n if head in whole else 1 for head, n in zip(heads, longest, strict=True)]
    return sum(needed) + between * len(needed) < console().width + between


def print_pair(left: tuple[str, str], right: tuple[str, str]) -> None:
    """Two titled texts side by side; one above the other where the terminal is narrow."""
    from rich import box
    from rich.columns import Columns
    from rich.panel import Panel

    narrow = console().width < 70
    width = console().width if narrow else console().width // 2 - 1
    panels = [
        Panel(literal(text or "(no text)"), title=literal(title), title_align="left", width=width, box=box.ROUNDED)
        for title, text in (left, right)
    ]
    console().print(*panels, sep="\n") if narrow else console().print(Columns(panels, padding=(0, 1)))


def print_json(value: Any) -> None:
    """A result for programs: JSON on stdout; what is not a number becomes null."""
    text = json.dumps(jsonable(value), indent=1, ensure_ascii=False)
    sys.stdout.write(text.encode("utf-8", "backslashreplace").decode() + "\n")  # in JSON, \udc80 spells such a half


@contextmanager
def working(what: str) -> Iterator[None]:
    """Says on stderr what is being done, with a spinner where there is a terminal."""
    with console(stderr=True).status(literal(f"{what} ...")):
        yield
