"""Runs the notebooks from top to bottom: `python -m tests.support.notebooks [NAME ...]` puts fresh outputs into the files."""

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2] / "notebooks"
SECONDS = 300
"""Longest time for one cell."""


def run(path: Path, cwd: Path) -> Any:
    """The notebook with the outputs of a fresh kernel started in `cwd`. Raises nbclient's `CellExecutionError`."""
    import nbformat
    from nbclient import NotebookClient

    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(cwd)}}
    client = NotebookClient(notebook, timeout=SECONDS, kernel_name="python3", resources=resources)
    client.record_timing = False  # outputs should differ only where results do
    plots = {
        name: value for name, value in os.environ.items() if name != "MPLBACKEND"
    }  # Streamlit sets it in a process
    done = client.execute(env=plots)
    for cell in done.cells:
        if cell.cell_type == "code":  # progress and warnings on stderr depend on the machine
            cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr"]
    return done


def main() -> None:
    import nbformat

    for path in sorted(FOLDER.glob("*.ipynb")):
        if len(sys.argv) > 1 and path.stem not in sys.argv[1:]:
            continue
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            nbformat.write(run(path, Path(folder)), path)
        print(f"{path.name}: {time.monotonic() - began:.0f} s, {path.stat().st_size // 1024} KiB")


if __name__ == "__main__":
    main()
