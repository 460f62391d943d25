"""What the server serves, by name: models it was started with, and stores in the project's folders. Pages never see paths.

A page asks for a name and gets what was found under it, so no text from a browser can open another file.
"""

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from workbench import WorkbenchError
from workbench.bundled import bundled_path
from workbench.errors import suggestion
from workbench.paths import Place, given_path, given_place

Named = TypeVar("Named")
BUNDLED = {
    "refusal (bundled)": "demo-store",
    "volcanoes (bundled)": "checkpoints/smollm2-moe-taught/store",
}
"""Stores that come with the models that were taught to refuse: answers to their ranking prompts, by name."""


@dataclass(frozen=True)
class Catalog:
    """Models by name (what `load` takes), the stores named at the start, and the folder in which others are found.

    engine  what runs the models; None: this process
    """

    models: dict[str, str]
    given: dict[str, Place]
    project: Path
    engine: str | None = None

    def stores(self) -> dict[str, Place]:
        """Complete stores by name: given ones, the bundled ones, and those under stores/ and runs/ of the project."""
        found = {str(p.relative_to(self.project)): p for p in self.folders_with("manifest.json")}
        return self.given | {name: bundled_path(at) for name, at in BUNDLED.items()} | found

    def runs(self) -> dict[str, Path]:
        """Folders of runs/ that hold a recipe, a plan or a report, by name."""
        folders = sorted(p for p in (self.project / "runs").glob("*") if p.is_dir())
        held = ("recipe.toml", "plan.json", "report.html")
        return {p.name: p for p in folders if any((p / file).is_file() for file in held)}

    def store(self, name: str) -> Place:
        """The place of a store by its name; `WorkbenchError` when there is none of that name."""
        return self._named(name, self.stores(), "store")

    def model(self, name: str) -> str:
        """What `load` takes for a model's name; `WorkbenchError` when the server was not started with it."""
        return self._named(name, self.models, "model")

    def new_store(self, name: str) -> Path:
        """Where a capture of this name goes: stores/NAME of the project, never elsewhere."""
        if not name or not all(c.isalnum() or c in "-_." for c in name) or name.startswith("."):
            raise WorkbenchError(f"'{name:.60}' cannot name a store; use letters, digits, '-', '_' and '.'.")
        return self.project / "stores" / name

    def folders_with(self, file: str) -> Iterable[Path]:
        """Folders of stores, begun or complete, that hold this file; inside the project alone."""
        for pattern in (f"stores/*/{file}", f"runs/*/stores/*/{file}"):
            for found in sorted(self.project.glob(pattern)):
                if found.resolve().is_relative_to(self.project.resolve()):  # a link may lead out
                    yield found.parent

    @staticmethod
    def _named(name: str, known: dict[str, Named], what: str) -> Named:
        if name not in known:
            hint = suggestion(name, list(known)) or ";"
            raise WorkbenchError(
                f"This server has no {what} '{name:.60}'{hint} it has {', '.join(list(known)[:8]) or 'none'}."
            )
        return known[name]


def catalog_from(arguments: Sequence[str]) -> Catalog:
    """The catalog of `--model NAME ... --store PATH ... --project FOLDER --engine NAME`; the first model is shown first."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", action="append")
    parser.add_argument("--store", action="append")
    parser.add_argument("--project", default=".")
    parser.add_argument("--engine")
    given = parser.parse_args(list(arguments))
    models = given.model or ["demo"]
    stores = [given_place(s) for s in given.store or []]
    return Catalog(
        {_short(m): m for m in models}, {s.name or str(s): s for s in stores}, given_path(given.project), given.engine
    )


def _short(source: str) -> str:
    """A folder's last part; ids and `tiny/...` as they are."""
    return given_path(source).name if given_path(source).is_dir() else source
