"""Which checkpoints have a name: those whose additions are bundled in data/checkpoints."""

from pathlib import Path

from workbench.bundled import bundled_path
from workbench.checkpoints.checkpoint import STATED, Checkpoint, read_checkpoint
from workbench.errors import WorkbenchError, suggestion


def checkpoints() -> dict[str, Checkpoint]:
    """Every named checkpoint, by name."""
    folders = sorted(path.parent for path in bundled_path("checkpoints").glob(f"*/{STATED}"))
    return {folder.name: _read(folder) for folder in folders}


def find_checkpoint(name: str) -> Checkpoint | None:
    """The checkpoint of this name; None where there is none."""
    folders = {path.parent.name: path.parent for path in bundled_path("checkpoints").glob(f"*/{STATED}")}
    return _read(folders[name]) if name in folders else None


def checkpoint_named(name: str) -> Checkpoint:
    """The checkpoint of this name; `WorkbenchError` where there is none."""
    known = checkpoints()
    if name not in known:
        raise WorkbenchError(
            f"No checkpoint is called '{name:.60}'{suggestion(name, list(known)) or ';'} there are "
            f"{', '.join(known) or 'none in this installation'}."
        )
    return known[name]


def _read(folder: Path) -> Checkpoint:
    found = read_checkpoint(folder)
    if found.name != folder.name:
        raise WorkbenchError(
            f"'{folder}' says that its checkpoint is '{found.name}'; a folder has its checkpoint's name."
        )
    return found
