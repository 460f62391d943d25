"""Hooks on the base model and its layers: where a forward starts and ends, and the residual stream between."""

import inspect
from typing import Any

from workbench.hooks.active import Scratch, active, last_forward, running, set_forward
from workbench.model import first
from workbench.routing import leave_trail, read_positions


def on_forward(uid: int, module: Any, args: Any, kwargs: Any = None) -> None:
    now = active(uid)
    if now is None:
        return
    names = list(inspect.signature(module.forward).parameters) if args else []
    arguments, before = {**dict(zip(names, args, strict=False)), **kwargs}, last_forward(uid)
    positions = read_positions(arguments, None if before is None else before.positions)
    changed = None if now.dose is None else now.dose.begin(positions)
    set_forward(uid, Scratch(positions, now, arguments.get("past_key_values"), changed))
    if now.recorder is not None:
        now.recorder.begin()


def on_forwarded(uid: int, module: Any, args: Any, output: Any) -> None:
    now = active(uid)
    forward = None if now is None else running(uid, now)
    if forward is not None:
        leave_trail(forward.positions, forward.cache, output)


def on_before(uid: int, layer: int, module: Any, args: Any) -> None:
    now = active(uid)
    if now is not None and now.recorder is not None:
        now.recorder.see_before(layer, args[0])


def on_residual(uid: int, layer: int, module: Any, args: Any, output: Any) -> None:
    now = active(uid)
    if now is not None and now.recorder is not None:
        now.recorder.see_residual(layer, first(output))


def on_embeddings(uid: int, module: Any, args: Any, kwargs: Any = None) -> None:
    now = active(uid)
    if now is not None and now.recorder is not None:
        now.recorder.see_residual(-1, args[0] if args else kwargs["hidden_states"])
