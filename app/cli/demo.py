"""`workbench demo` and `workbench app`: the main job on a bundled or named model, and the page in a browser."""

import signal
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from workbench.checkpoints import checkpoints
from workbench.errors import WorkbenchError, suggestion
from workbench.paths import given_path

from ..terminal import note, warn
from .options import Distributions, Engine, Json
from .run import carry_out

_REAL = {"smollm2-moe-taught": "volcanoes"}
RECIPES = {"demo": "demo"} | {model: name for model, name in _REAL.items() if model in checkpoints()}
"""The bundled recipe that is the demonstration of a model, of those that this installation has."""


def demo(
    model: Annotated[
        str, typer.Option(help=f"{' or '.join(RECIPES)}; a real language model is fetched once (93 MB).")
    ] = "demo",
    out: Annotated[
        Path | None, typer.Option(help="Folder for the report, the tables, the stores and the plans: runs/RECIPE.")
    ] = None,
    engine: Engine = None,
    distributions: Distributions = True,
    json: Json = False,
) -> None:
    """Do the main job on a model: capture, rank, steer, compare; tables here and OUT/report.html.

    It is a bundled recipe, demo or volcanoes: workbench run demo does the same, and goes on where it was stopped.
    """
    from ..experiments.recipe import read_recipe

    if model not in RECIPES:
        raise WorkbenchError(
            f"There is no demonstration of '{model}'{suggestion(model, list(RECIPES)) or ';'} there is one of "
            f"{' and of '.join(RECIPES)}. A recipe of yours runs on any model: `workbench run RECIPE`."
        )
    recipe = read_recipe(RECIPES[model])
    if engine is not None:
        recipe = recipe.model_copy(
            update={"models": tuple(m.model_copy(update={"engine": engine}) for m in recipe.models)}
        )
    if not distributions:
        recipe = recipe.model_copy(update={"measure": recipe.measure.model_copy(update={"distributions": False})})
    carry_out(recipe, given_path(out or Path("runs") / RECIPES[model]), own_functions=engine is not None, json=json)


def dashboard(
    model: Annotated[
        list[str] | None,
        typer.Option(help="demo, tiny/FAMILY, a folder, or a Hugging Face id; may be given several times."),
    ] = None,
    store: Annotated[
        list[str] | None, typer.Option(metavar="STORE", help="A store to show; may be given several times.")
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to serve on; anything but this machine lets others in.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on this machine.")] = 8501,
    engine: Engine = None,
    server: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Steer the model of a running `workbench serve`; its key is in VLLM_API_KEY."),
    ] = None,
    browser: Annotated[bool, typer.Option(help="Open the page in a browser.")] = True,
) -> None:
    """Open the dashboard in a browser: see every expert, switch them, compare the answers.

    Serves this machine only unless --host says otherwise. Stores under stores/ and runs/ of this folder are listed there.
    """
    from workbench import open_store

    model, engine = served_by(server, model, engine) if server is not None else (model, engine)
    for path in store or []:
        open_store(path)  # what is wrong with it is said here, before a browser opens
    page = Path(__file__).parents[1] / "page.py"
    options = {"server.address": host, "server.port": port, "browser.gatherUsageStats": "false"}
    options |= {"server.showEmailPrompt": "false"}  # no question on stdin the first time
    options |= {"logger.hideWelcomeMessage": "true"}  # nor an offer to install agent skills, drawn over the page
    options |= {
        "server.headless": str(not browser).lower(),
        "server.fileWatcherType": "none",
        "client.toolbarMode": "minimal",
    }
    # the charts' blue for what is pressed, so that colour alone says nothing that form does not
    options |= {"theme.light.primaryColor": "#0072B2", "theme.dark.primaryColor": "#4AA8DE"}
    if host not in ("127.0.0.1", "localhost", "::1"):
        who = "everybody who reaches this machine can use the model and read the stores listed"
        warn(f"Serving on {host}, port {port}: {who}.")
    else:
        note(f"Serving on this machine only: http://{host}:{port}")
    command = [sys.executable, "-m", "streamlit", "run", str(page), *(f"--{k}={v}" for k, v in options.items())]
    chosen = [f"--model={m}" for m in model or ["demo"]] + [f"--store={s}" for s in store or []]
    chosen += [] if engine is None else [f"--engine={engine}"]
    raise typer.Exit(serve([*command, "--", *chosen, f"--project={Path.cwd()}"]))


def served_by(server: str, model: list[str] | None, engine: str | None) -> tuple[list[str], str]:
    """What the dashboard shows of a running server, which answers here first."""
    from workbench.serving.online import NAME, Online

    if model or engine:
        raise WorkbenchError("--server URL shows the model that is served there; leave --model and --engine away.")
    note(f"The server has {Online(server).facts.anatomy.model}.")
    return [server], NAME


def serve(command: list[str]) -> int:
    """Run the server until it ends. Whoever ends this process ends the server too, so that its port is free again."""
    server = subprocess.Popen(command)
    before = signal.signal(signal.SIGTERM, lambda *_: server.terminate())
    try:
        return server.wait()
    finally:
        signal.signal(signal.SIGTERM, before)
        server.kill()
