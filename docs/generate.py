"""Writes what the docs say about the code, from the code (`make docs`): a test holds every page to it.

docs/cli.md is made whole; in other pages, what stands between two marks is exchanged: tables of probes, keys of recipes,
families of models, modules that moved, sizes of large stores.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from docs.families import families
from docs.moves import moves
from docs.probe_tables import by_folder, one_by_one
from docs.recipe_keys import recipe_keys
from docs.scaling_table import scaling

ROOT = Path(__file__).parent.parent
COLUMNS = 100


def cli_reference() -> str:
    """Every command's help as one Markdown page."""
    os.environ["COLUMNS"] = str(COLUMNS)
    from typer.main import get_command
    from workbench_app.cli import app

    parts = [
        "# The command line",
        "",
        "Made from the commands' own `--help` by `make docs`; a test holds it to that.",
        "",
    ]
    for name, command, context in commands(get_command(app), "workbench"):
        text = "\n".join(line.rstrip() for line in command.get_help(context).strip().splitlines())
        parts += [f"## {name}", "", "```text", text, "```", ""]
    return "\n".join(parts)


def commands(command: Any, name: str, parent: Any = None) -> Iterator[tuple[str, Any, Any]]:
    """The command and those below it, each with its full name and a context to print its help in."""
    context = command.context_class(command, info_name=name.split()[-1], parent=parent)
    context.terminal_width, context.max_content_width = COLUMNS, COLUMNS
    yield name, command, context
    for sub in getattr(command, "commands", {}):
        yield from commands(command.commands[sub], f"{name} {sub}", context)


MADE: dict[str, tuple[str, Callable[[], str]]] = {
    "README.md": ("probes", by_folder),
    "docs/probes.md": ("probes", one_by_one),
    "docs/recipes.md": ("recipe keys", recipe_keys),
    "docs/models.md": ("families", families),
    "docs/moved.md": ("moved modules", moves),
    "docs/scaling.md": ("scaling", scaling),
}
"""A page, the name of its marks, and what is written between them."""


def page(path: str) -> str:
    """The page as it should be: what lies between its marks made anew."""
    name, make = MADE[path]
    before, rest = (ROOT / path).read_text(encoding="utf-8").split(f"<!-- {name}, written by make docs -->")
    after = rest.split(f"<!-- end of {name} -->")[1]
    return f"{before}<!-- {name}, written by make docs -->\n\n{make().strip()}\n\n<!-- end of {name} -->{after}"


def main() -> None:
    """Writes all of it."""
    (ROOT / "docs" / "cli.md").write_text(cli_reference(), encoding="utf-8")
    for path in MADE:
        (ROOT / path).write_text(page(path), encoding="utf-8")


if __name__ == "__main__":
    main()
