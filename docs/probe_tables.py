"""The probes as Markdown: one row for each folder in the README, one for each probe on its own page."""

import inspect
from importlib import import_module

from probes import catalogue


def by_folder() -> str:
    """What a folder of probes asks, and the probes in it."""
    folders: dict[str, list[str]] = {}
    for method in catalogue.METHODS:
        folders.setdefault(method.function.partition(".")[0], []).append(f"`{method.name}`")
    rows = (f"| {_first_sentence(folder)} | {', '.join(names)} |" for folder, names in folders.items())
    return "\n".join(["| what is asked | probes |", "|---|---|", *rows])


def one_by_one() -> str:
    """What each probe asks, what it needs, how its score reads, its paper."""
    heads = ("probe", "what it asks", "needs", "score", "paper")
    lines = (heads, ("---",) * len(heads), *map(_cells, catalogue.METHODS))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _cells(method: catalogue.Method) -> tuple[str, ...]:
    low, high = (f"{end:g}".replace("inf", "∞") for end in method.range)
    score = method.unit.replace("|", "\\|") + (f", {low} to {high}" if method.ranks else "")
    needs = (*method.needs, *(["another store"] if method.beside else []))
    return f"`{method.name}`", method.sentence, ", ".join(needs) or "routing", score, method.paper


def _first_sentence(folder: str) -> str:
    text = inspect.getdoc(import_module(f"probes.{folder}")) or ""
    return " ".join(text.split("\n\n")[0].split()).rstrip(".")
