"""Starts vLLM's server with plans in it: the engine, its check, vLLM's application behind our gate."""

import asyncio
import os
import signal
from argparse import Namespace
from collections.abc import Callable, Iterator
from typing import Any

from workbench.backends import check_plan
from workbench.errors import WorkbenchError
from workbench.model import Facts
from workbench.plan import Plan
from workbench.routing import compile_plan
from workbench.serving.client import Calls, Room, Vllm, checked, kept_bytes, unserved
from workbench.serving.plugin import Settings, register, started_with
from workbench.serving.scopes import helds
from workbench.serving.server.bridge import Bridge
from workbench.serving.server.gate import Gate
from workbench.serving.server.live import Live, Sink, running
from workbench.serving.server.service import Service

_ENVIRONMENT = {"VLLM_SERVER_DEV_MODE": "0", "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "0"}
"""VLLM's development endpoints are off, whatever the shell says."""


def serve(
    path: str,
    facts: Facts,
    args: Namespace,
    plan: Plan,
    settings: Settings,
    say: Callable[[str], None],
    sink: Sink | None = None,
) -> None:
    """Serves the checkpoint in `path` until it is told to end.

    args  see `server_options`; plan: holds for every request; say: is told what is served, once it is; sink: gets what is
          captured of requests

    Raises `WorkbenchError` where the plan cannot be served: a server never starts without what was asked of it.
    """
    import uvloop  # pyright: ignore[reportMissingImports]
    from vllm.entrypoints.serve.utils.api_utils import cli_env_setup  # pyright: ignore[reportMissingImports]

    os.environ |= _ENVIRONMENT
    args.model = path
    plan = plan.for_model(facts.anatomy) if plan else plan
    compile_plan(plan, facts.anatomy, facts.tokenizer)  # what is impossible is said before anything is loaded
    cli_env_setup()
    signal.signal(
        signal.SIGTERM, _interrupted
    )  # until the server has handlers of its own: the engine's process ends as well
    with started_with(settings):
        register()
        uvloop.run(_run(facts, args, plan, Room(settings), say, sink))


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


async def _run(
    facts: Facts, args: Namespace, plan: Plan, room: Room, say: Callable[[str], None], sink: Sink | None
) -> None:
    from vllm.entrypoints.launchers.api_server.entry import (  # pyright: ignore[reportMissingImports]
        build_async_engine_client,
    )
    from vllm.entrypoints.launchers.launcher import setup_server  # pyright: ignore[reportMissingImports]

    where, socket = setup_server(args, reuse_port=False)
    try:
        async with build_async_engine_client(args) as engine:
            calls = Calls(Bridge(engine, asyncio.get_running_loop()), room)
            served = await asyncio.to_thread(checked, calls, facts, [*_reasons(args)])
            _check_everywhere(served, plan)
            _check_captured(served, sink)
            for line in banner(served, plan, where, sink):
                say(line)
            live = None if sink is None else Live(engine, sink, kept_bytes(facts.anatomy))
            async with running(live):
                ended = await _listen(args, engine, socket, Service(engine, served, plan, live))
            if sink is not None:
                say(captured(sink))
        await ended
    finally:
        socket.close()


def _reasons(args: Namespace) -> Iterator[str]:
    yield from unserved(vars(args))
    if args.async_scheduling:
        yield "what async_scheduling computes ahead is not followed"


def _check_everywhere(served: Vllm, plan: Plan) -> None:
    """Raises `WorkbenchError` where the plan for every request cannot be served."""
    check_plan(served, plan)
    served.calls.room.check(helds(plan.edits))


def _check_captured(served: Vllm, sink: Sink | None) -> None:
    if sink is not None and served.can.keep is None:
        raise WorkbenchError(
            f"Nothing can be captured here: {served.can.why.get('keep', '')}; serve without --capture."
        )


def banner(served: Vllm, plan: Plan, where: str, sink: Sink | None = None) -> Iterator[str]:
    """What is served, in a few lines."""
    anatomy = served.facts.anatomy
    yield f"Serving {anatomy.model} at {where} (fingerprint {anatomy.fingerprint})"
    if not served.can.edits:
        yield f"Plans are refused: {served.can.why.get('edits', '')}."
    else:
        yield f'A request may carry a plan: vllm_xargs={{"expert_plan": "..."}} of {", ".join(sorted(served.can.edits))}.'
    if plan:
        yield f"This plan holds for every request: {plan} (fingerprint {plan.digest})"
    if sink is not None:
        kept = "routing and what was said" if sink.text else "routing alone, and nothing that was said"
        yield f"Of {sink.share:.2%} of requests is captured: {kept}; expert_capture: false keeps one out."


def captured(sink: Sink) -> str:
    """What came of it, in a sentence."""
    told = sink.told()
    return (
        f"Captured {told['requests']} requests ({told['tokens']} tokens), dropped {told['requests_dropped']} "
        f"({told['tokens_dropped']} tokens){', for the store is full' if told['is_full'] else ''}."
    )


async def _listen(args: Namespace, engine: Any, socket: Any, service: Service) -> Any:
    """VLLM's application, with our gate innermost, so that its keys are asked for first; what is to be awaited at the end."""
    from starlette.middleware import Middleware  # pyright: ignore[reportMissingImports]
    from vllm import envs  # pyright: ignore[reportMissingImports]
    from vllm.entrypoints.launchers.api_server.app_state import (  # pyright: ignore[reportMissingImports]
        init_app_state,
    )
    from vllm.entrypoints.launchers.app import build_app  # pyright: ignore[reportMissingImports]
    from vllm.entrypoints.launchers.launcher import serve_http  # pyright: ignore[reportMissingImports]

    tasks = await engine.get_supported_tasks()
    if "generate" not in tasks:
        raise WorkbenchError("This model generates no text in vLLM, so there is nothing to steer; name a causal LM.")
    app = build_app(args, tasks, engine.model_config)
    app.user_middleware.append(Middleware(Gate, service=service))
    app.middleware_stack = app.build_middleware_stack()  # what vLLM builds on has built it already, without the gate
    if not service.is_gated:
        raise WorkbenchError("This vLLM's application cannot be put behind a gate; its version has to be 0.32.")
    await init_app_state(engine, app.state, args, tasks)
    ssl = {
        name: getattr(args, name)
        for name in ("ssl_keyfile", "ssl_certfile", "ssl_ca_certs", "ssl_cert_reqs", "ssl_ciphers")
    }
    return await serve_http(
        app,
        sock=socket,
        enable_ssl_refresh=args.enable_ssl_refresh,
        host=args.host,
        port=args.port,
        log_level=args.uvicorn_log_level,
        access_log=not args.disable_uvicorn_access_log,
        timeout_keep_alive=envs.VLLM_HTTP_TIMEOUT_KEEP_ALIVE,
        h11_max_incomplete_event_size=args.h11_max_incomplete_event_size,
        h11_max_header_count=args.h11_max_header_count,
        **ssl,
    )
