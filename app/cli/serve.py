"""`workbench serve`: vLLM's OpenAI-compatible server, in which each request may carry a plan of its own."""

from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from workbench import Plan, WorkbenchError

from ..terminal import note, warn, without_bars, working
from .options import Model, PlanFile

Full = Literal["drop", "wait"]
PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True}
"""How the command is registered: what it does not know is vLLM's."""


def serve(
    ctx: typer.Context,
    model: Model,
    plan: PlanFile = None,
    host: Annotated[
        str, typer.Option(help="Address to serve on; another than this machine needs --api-key.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to serve on.")] = 8000,
    api_key: Annotated[list[str] | None, typer.Option(help="A key that requests have to carry; several times.")] = None,
    plan_rows: Annotated[int, typer.Option(min=2, help="Different sets of edits that may be in force at once.")] = 64,
    plan_vectors: Annotated[int, typer.Option(min=2, help="Different vectors of replace, the same way.")] = 64,
    capture: Annotated[
        Path | None, typer.Option(help="Capture requests into this store; readers may open it meanwhile.")
    ] = None,
    share: Annotated[float, typer.Option(min=0, max=1, help="The share of requests that is captured.")] = 0.01,
    capture_seed: Annotated[int, typer.Option(help="Which requests those are.")] = 0,
    text: Annotated[bool, typer.Option("--text", help="Capture what was said as well: tokens and their ids.")] = False,
    max_bytes: Annotated[int, typer.Option(min=1, help="The store never has more bytes.")] = 10 * 10**9,
    capture_buffer: Annotated[int, typer.Option(min=1, help="Bytes that may wait in the engine.")] = 256 << 20,
    when_full: Annotated[
        Full, typer.Option(help="What comes of captured requests beyond: they are dropped and counted, or wait.")
    ] = "drop",
) -> None:
    """Serve a model over HTTP with vLLM, where each request may carry a plan of its own.

    vllm_xargs={"expert_plan": "off L2E8"} is a request's plan; the plan of --plan holds for all of them. With --capture
    the routing of a share of requests goes into a store, without what was said. Needs vLLM (docs/serving.md), whose own
    options stand after MODEL.
    """
    from workbench.capturing import LiveStore
    from workbench.loading import load, read_once
    from workbench.serving.server import Settings, server_options
    from workbench.serving.server import serve as run

    everywhere = Plan() if plan is None else Plan.from_json(plan)
    ours = ["--host", host, "--port", str(port), *(part for key in api_key or () for part in ("--api-key", key))]
    args = server_options(model, [*ours, *ctx.args])
    without_bars()
    with working(f"Reading {model}"):
        hub = {"revision": args.revision} if args.revision else {}
        read = read_once(model, partial(load, model, dtype=args.dtype, check=False), hub)
    args.dtype = str(read.facts.dtype).removeprefix("torch.") if args.dtype == "auto" else args.dtype
    settings, sink = Settings(plan_rows, plan_vectors, capture_buffer), None
    if capture is not None:
        how = {"share": share, "seed": capture_seed, "text": text, "max_bytes": max_bytes, "waits": when_full == "wait"}
        sink = LiveStore(capture, read.facts, everywhere, **how)
    try:
        run(read.path, read.facts, args, everywhere, settings, note, sink)
    except (WorkbenchError, OSError, KeyboardInterrupt):
        raise
    except Exception as error:  # vLLM and what it calls raise anything
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        warn(f"vLLM's server ended ({type(error).__name__}: {first:.300}); what it said above tells why.")
        raise typer.Exit(2) from error
