"""`workbench demo` and `workbench app`: the main job on the bundled model, and the page in a browser."""

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from .options import Json


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the report, the stores and the plan.")] = Path("runs/demo"),
    json: Json = False,
) -> None:
    """Do the main job on the bundled model: capture, rank, steer, compare; a table here and OUT/report.html."""
    from .demo import run

    run(out, json)


def dashboard(
    model: Annotated[str, typer.Option(help="demo, tiny/FAMILY, a folder, or a Hugging Face id.")] = "demo",
    store: Annotated[Path | None, typer.Option(help="A store of this model.")] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on this machine.")] = 8501,
) -> None:
    """Open the page in a browser, on this machine only.

    Edit experts there, and see base and steered answers side by side with the dose.
    """
    from workbench import open_store

    if store is not None:
        open_store(store)  # what is wrong with it is said here, before a browser opens
    page = Path(__file__).with_name("page.py")
    options = {"server.address": "127.0.0.1", "server.port": port, "browser.gatherUsageStats": "false"}
    options |= {"server.showEmailPrompt": "false"}  # no question on stdin the first time
    command = [sys.executable, "-m", "streamlit", "run", str(page), *(f"--{k}={v}" for k, v in options.items())]
    chosen = ["--model", model, *(["--store", str(store)] if store is not None else [])]
    raise typer.Exit(subprocess.call([*command, "--", *chosen]))
