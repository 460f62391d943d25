"""The mistakes that somebody thought of, from by_hand/*.toml, each with the tests that are to notice it."""

import tomllib
from pathlib import Path
from typing import Any

from tests.mutants.mutant import ROOT, Mutant

FOLDER = Path(__file__).parent / "by_hand"
EQUIVALENT = Path(__file__).parent / "equivalent.toml"


def by_hand(root: Path = ROOT) -> list[Mutant]:
    """All of them. Raises `ValueError` naming each text that does not stand exactly once in its file."""
    entries = [entry for path in sorted(FOLDER.glob("*.toml")) for entry in _entries(path)]
    if lost := [f"{e['old']!r} stands {n} times in {e['file']}" for e in entries if (n := _times(e, root)) != 1]:
        raise ValueError("A mutant names text that stands once in its file:\n" + "\n".join(lost))
    return [_mutant(entry, root) for entry in entries]


def equivalent() -> dict[tuple[str, str, str], str]:
    """Drawn mutants that change nothing anybody can see: the reason by file, the line's old text and its new text."""
    return {(e["file"], e["old"], e["new"]): e["why"] for e in _entries(EQUIVALENT)}


def line_of(mutant: Mutant, root: Path = ROOT) -> tuple[str, str, str]:
    """The mutant as `equivalent.toml` names it: file, whole lines before, whole lines after."""
    text = (root / mutant.file).read_text(encoding="utf-8")
    start, end = text.rfind("\n", 0, mutant.start) + 1, mutant.start + len(mutant.old)
    stop = text.find("\n", end) if "\n" in text[end:] else len(text)
    new = text[start : mutant.start] + mutant.new + text[end:stop]
    return mutant.file, text[start:stop].strip(), new.strip()


def _entries(path: Path) -> list[dict[str, Any]]:
    return tomllib.loads(path.read_text(encoding="utf-8")).get("mutant", []) if path.exists() else []


def _times(entry: dict[str, Any], root: Path) -> int:
    return (root / entry["file"]).read_text(encoding="utf-8").count(entry["old"])


def _mutant(entry: dict[str, Any], root: Path) -> Mutant:
    file, old = entry["file"], entry["old"]
    start = (root / file).read_text(encoding="utf-8").index(old)
    return Mutant(file, start, old, entry["new"], "by hand", entry["why"], tuple(entry["tests"]))
