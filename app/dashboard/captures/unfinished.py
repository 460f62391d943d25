"""Stores that were begun and not ended: found on disk, with what is needed to go on with them.

The prompts of a capture started on the page are kept beside the stores until it is complete, since a half-written store
need not hold them. For one begun elsewhere the bundled prompts are tried; the fingerprint decides.
"""

import json
import time
from pathlib import Path
from typing import Any, NamedTuple

import streamlit as st

from workbench import Plan, PromptSet, WorkbenchError, read_prompts
from workbench.bundled import bundled_path
from workbench.capturing import Options
from workbench.shards import READABLE
from workbench.storage import disk_errors, read_json, write_text

from ..session import Catalog
from .jobs import Wanted

_SETTLED = 60.0  # seconds after which kept prompts without a capture belong to none that is about to start


class Unfinished(NamedTuple):
    """A half-written store: how far it is, and its plan.json."""

    name: str
    path: Path
    done: int
    shards: int
    plan: dict[str, Any]

    @property
    def fingerprint(self) -> str | None:
        """Of the model it was begun with."""
        return self.plan.get("anatomy", {}).get("fingerprint")

    def __str__(self) -> str:
        return f"{self.done} of {self.shards} shards complete"


def unfinished(catalog: Catalog) -> list[Unfinished]:
    """The stores of the project without a manifest whose plan.json can be read."""
    return [found for name, path in begun(catalog).items() if (found := _read(name, path)) is not None]


def begun(catalog: Catalog) -> dict[str, Path]:
    """Folders with a plan.json and no manifest, by name; inside the project alone."""
    given = {
        name: path for name, path in catalog.given.items() if isinstance(path, Path) and (path / "plan.json").is_file()
    }
    found = given | {str(path.relative_to(catalog.project)): path for path in catalog.folders_with("plan.json")}
    return {name: path for name, path in found.items() if not (path / "manifest.json").is_file()}


def _read(name: str, path: Path) -> Unfinished | None:
    try:
        plan = read_json(path / "plan.json")
        if plan.get("schema_version") not in READABLE:
            return None
        return Unfinished(name, path, len(list((path / "shards").glob("*.json"))), len(plan["shards"]), plan)
    except (WorkbenchError, OSError, KeyError, TypeError, AttributeError):
        return None  # damaged: the list of stores gives the reason


def to_resume(catalog: Catalog, half: Unfinished) -> Wanted:
    """The same capture again. Raises `WorkbenchError` when its prompts are not on this server."""
    steering = half.plan.get("steering")
    plan = Plan() if steering is None else Plan.from_json(json.dumps(steering))
    return Wanted(_prompts(catalog, half), plan, Options.from_dict(half.plan["options"]))


def _prompts(catalog: Catalog, half: Unfinished) -> PromptSet:
    wanted = half.plan["prompts"]["fingerprint"]
    kept = _kept(catalog, half.path)
    found = read_prompts(kept) if kept.is_file() else None
    if found is None or found.fingerprint != wanted:
        found = _bundled().get(wanted)
    if found is None:
        raise WorkbenchError(
            f"The prompts of '{half.name}' are not on this server; run the same workbench capture again, which goes on too."
        )
    return found


@st.cache_resource(show_spinner=False)
def _bundled() -> dict[str, PromptSet]:
    """Every bundled prompt file and each of its splits, by fingerprint."""
    files = [read_prompts(name) for name in bundled_names()]
    sets = [s for prompts in files for s in (prompts, *(prompts.filter(split=split) for split in prompts.splits))]
    return {s.fingerprint: s for s in sets}


def bundled_names() -> list[str]:
    """The bundled prompt files."""
    return sorted(file.stem for file in bundled_path("prompts").glob("*.jsonl"))


# ---- the prompts that are kept


def keep_prompts(catalog: Catalog, path: Path, prompts: PromptSet) -> None:
    """Writes the prompts of a capture that is about to start."""
    file = _kept(catalog, path)
    with disk_errors(file.parent):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, "".join(json.dumps(prompt.to_dict()) + "\n" for prompt in prompts))


def drop_kept(catalog: Catalog) -> None:
    """Removes the kept prompts of captures that are complete, or that were never begun and run no more."""
    from .jobs import jobs

    for file in (catalog.project / "stores" / ".prompts").glob("*.jsonl"):
        store = catalog.project / "stores" / file.stem
        is_begun = (store / "plan.json").is_file() and not (store / "manifest.json").is_file()
        is_new = time.time() - file.stat().st_mtime < _SETTLED
        if not (is_begun or is_new or jobs().active_on(store)):
            file.unlink(missing_ok=True)


def _kept(catalog: Catalog, path: Path) -> Path:
    return catalog.project / "stores" / ".prompts" / f"{path.name}.jsonl"
