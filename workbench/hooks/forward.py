"""Hooks on the base model and its layers: where a forward starts and ends, and the residual stream between."""

import inspect
from typing import Any

from workbench.hooks.active import active, current_forward, running, set_forward
from workbench.model.answered import first
from workbench.routing.positions import read_forward


def on_forward(uid: int, module: Any, args: Any, kwargs: Any = None) -> None:
    now = active(uid)
    if now is None:
        return
    names = list(inspect.signature(module.forward).parameters) if args else []
    forward = read_forward({**dict(zip(names, args, strict=False)), **kwargs}, current_forward(uid))
    forward.under = now
    set_forward(uid, forward)
    if now.recorder is not None:
        now.recorder.begin()
    if now.dose is not None:
        now.dose.begin(forward)


def on_forwarded(uid: int, module: Any, args: Any, output: Any) -> None:
    now = active(uid)
    forward = None if now is None else running(uid, now)
    if forward is not None:
        forward.leave_trail(output)


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
