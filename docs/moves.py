"""The table of modules that are elsewhere now, as Markdown."""

from workbench.moved import MOVED


def moves() -> str:
    """One row for each old place, with what to write instead."""
    rows = (f"| `{row.old}` | `from {row.new} import {', '.join(row.names)}` |" for row in MOVED)
    return "\n".join(["| instead of | write |", "|---|---|", *rows])
