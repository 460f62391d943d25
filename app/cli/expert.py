"""`workbench expert`: all that a store and its probes know of one expert."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workbench import WorkbenchError
from workbench.storage import check_writable, write_text

from ..terminal import note, print_json, print_table, say, working
from .options import Json, StorePath

if TYPE_CHECKING:
    from ..experts import Card

_ENDINGS = (".md", ".html")


def expert(
    store: StorePath,
    expert: Annotated[str, typer.Argument(metavar="EXPERT", help="A routed expert, as in L3E5.")],
    target: Annotated[
        str | None, typer.Option(help="A label's value: asks the probes that compare classes too.")
    ] = None,
    baseline: Annotated[str | None, typer.Option(help="The class to compare with; without it, all others.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the card here: .md or .html.")] = None,
    json: Json = False,
) -> None:
    """Gather all that is known of one expert: its tokens and contexts, a label, whom it is like, its rank in every probe.

    A card is association with these prompts; compare measures an effect.
    """
    from workbench import open_store
    from workbench.anatomy import as_ref

    from ..experts import as_html, as_markdown, card_of

    if out is not None:
        if out.suffix not in _ENDINGS:
            raise WorkbenchError(f"'{out}' should end in .md or .html, which says how to write the card.")
        check_writable(out)
    opened = open_store(store)
    with working(f"Asking every probe about {expert}"):
        card = card_of(opened, as_ref(expert), target, baseline)
    if out is not None:
        write_text(out, as_markdown(card) if out.suffix == ".md" else as_html(card))
        note(f"Wrote '{out}'.")
    if json:
        print_json(card._asdict() | {"ref": str(card.ref), "sections": [s._asdict() for s in card.sections]})
    elif out is None:
        _show(card)


def _show(card: "Card") -> None:
    say(f"{card.ref} of {card.model or 'a model'}, by '{card.store}'")
    for section in card.sections:
        say()
        say(section.title, "bold")
        for line in section.lines:
            say(line)
        if section.rows:
            print_table(section.heads, section.rows)
    note(f"- {card.note}")
