"""Where the bundled files lie: in `data/` beside the packages in a clone, in `workbench_data` when installed."""

from importlib.util import find_spec
from pathlib import Path

from workbench.errors import WorkbenchError


def bundled_path(name: str) -> Path:
    """The path of a bundled file or folder, such as `demo-model` or `prompts/refusal.jsonl`."""
    clone = Path(__file__).parent.parent / "data"
    spec = find_spec("workbench_data")
    installed = [Path(p) for p in (spec.submodule_search_locations or [])] if spec else []
    for folder in (clone, *installed):
        if (folder / name).exists():
            return folder / name
    raise WorkbenchError(f"The bundled '{name}' is not in this installation; install the wheel again or use a clone.")
