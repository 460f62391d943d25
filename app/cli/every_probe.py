"""Every probe asked of one store: `workbench rank --all`, which of them say the same; `workbench expert`, all of one expert."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workbench.errors import WorkbenchError
from workbench.storage import check_writable, write_text

from ..terminal import note, print_json, print_table, say, working
from .options import Json, StorePath

if TYPE_CHECKING:
    from probes.agreement import Agreement
    from workbench.store import Store

    from ..experts import Card


def rank_all(
    store: str, target: str | None, baseline: str | None, out: Path | None, *, incomplete: bool, json: bool
) -> None:
    """Asks the store, shows the clusters and correlations, and writes every pair to `out`."""
    from probes.agreement import agreement
    from workbench import open_store

    if out is not None:
        if out.suffix not in (".csv", ".parquet"):
            raise WorkbenchError(f"'{out}' should end in .csv or .parquet, which says how to write the agreement.")
        check_writable(out)
    opened = open_store(store, incomplete=incomplete)
    opened.check_complete()
    _check_labels(opened, target, baseline)
    with working(f"Ranking {opened.anatomy.n_experts} experts in every way"):
        found = agreement(opened, target, baseline)
    if out is not None:
        found.write(out)
        note(f"Wrote '{out}'.")
    print_json(_whole(found)) if json else _show(found)


def _check_labels(store: "Store", *labels: str | None) -> None:
    """A misspelt label is no reason to leave every probe out that compares classes, and say it in a note."""
    from probes.reading import check_label

    for label in filter(None, labels):
        check_label(store, label)


def _whole(found: "Agreement") -> dict[str, Any]:
    return {**found.about(), "pairs": found.pairs.to_dict("records")}


def _show(found: "Agreement") -> None:
    say(f"{len(found.scores)} rankings of the experts of {found.model or 'a model'}, by Spearman's rank correlation")
    columns = ["cluster", "ranking", "experts", "nearest", "correlation", "n"]
    print_table(columns, _rows(found), right=["cluster", "experts", "correlation", "n"])
    say(f"A cluster joins rankings whose mean correlation is {found.cut:g} or more; --out FILE writes every pair.")
    for reason, names in found.refused.items():
        note(f"- not asked: {', '.join(names)}: {reason}")
    note("- that rankings agree does not say that they are right: an effect is measured by compare")


def _rows(found: "Agreement") -> list[list[str]]:
    """Every ranking with the other that it agrees with most."""
    rows: list[list[str]] = []
    for number, group in enumerate(found.clusters, 1):
        for name in group:
            ranked = len(found.scores[name].frame.dropna(subset=["score"]))
            rows.append([str(number), name, f"{ranked:,}", *_nearest(found.pairs, name)])
    return rows


def _nearest(pairs: Any, name: str) -> list[str]:
    own = pairs[((pairs["method"] == name) | (pairs["other"] == name)) & pairs["spearman"].notna()]
    if own.empty:
        return ["-", "-", "-"]
    best: dict[str, Any] = own.sort_values("spearman", ascending=False, kind="stable").to_dict("records")[0]
    other = best["other"] if best["method"] == name else best["method"]
    return [str(other), f"{best['spearman']:+.2f}", f"{int(best['n']):,}"]


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
        if out.suffix not in (".md", ".html"):
            raise WorkbenchError(f"'{out}' should end in .md or .html, which says how to write the card.")
        check_writable(out)
    opened = open_store(store)
    _check_labels(opened, target, baseline)
    with working(f"Asking every probe about {expert}"):
        card = card_of(opened, as_ref(expert), target, baseline)
    if out is not None:
        write_text(out, as_markdown(card) if out.suffix == ".md" else as_html(card))
        note(f"Wrote '{out}'.")
    if json:
        print_json(card._asdict() | {"ref": str(card.ref), "sections": [s._asdict() for s in card.sections]})
    elif out is None:
        _show_card(card)


def _show_card(card: "Card") -> None:
    say(f"{card.ref} of {card.model or 'a model'}, by '{card.store}'")
    for section in card.sections:
        say()
        say(section.title, "bold")
        for line in section.lines:
            say(line)
        if section.rows:
            print_table(section.heads, section.rows)
    note(f"- {card.note}")
