"""Which hook belongs to which place, and places held while somebody needs them.

Every hook is a module-level function that looks up what is active in this context, so it is inert in everybody else's
forwards, can be saved with the model, and gives the same answer in whatever order `steered` and `recording` were entered.

`kwargs` has a default because torch enters a hook before it notes that the hook wants keywords, and forgets the note before
the hook: a forward of another thread that falls between calls it without them. There it is inert, and must not fail.
"""

import weakref
from collections.abc import Iterable
from contextlib import AbstractContextManager
from functools import partial
from threading import Lock
from typing import Any

from workbench.hooks.adapted import on_adapted
from workbench.hooks.experts import on_experts, on_routed
from workbench.hooks.forward import on_before, on_embeddings, on_forward, on_forwarded, on_residual
from workbench.hooks.generating import BridgeSteps, GenerateHandle
from workbench.hooks.points import HookPoint, HookPoints
from workbench.hooks.router import on_read, on_router
from workbench.hooks.shared import on_gate, on_shared
from workbench.model import Runtime

_LOCK = Lock()
_INSTALLED: "weakref.WeakKeyDictionary[Runtime, HookPoints]" = weakref.WeakKeyDictionary()


def held(runtime: Runtime, points: Iterable[HookPoint]) -> AbstractContextManager[None]:
    """Keeps the hooks of `points` installed on the model during the block."""
    with _LOCK:
        installed = _INSTALLED.get(runtime)
        if installed is None:
            # weak: what is installed must not keep the runtime, which is its key
            here = weakref.ref(runtime)
            installed = _INSTALLED[runtime] = HookPoints(lambda point: register(_living(here), point))
    return installed.held(points)


def _living(here: "weakref.ref[Runtime]") -> Runtime:
    runtime = here()
    assert runtime is not None
    return runtime


def register(runtime: Runtime, point: HookPoint) -> list[Any]:
    """Installs the hook of one place and returns its handles."""
    layout, (kind, layer, number) = runtime.layout, point
    block = layout.blocks.get(layer)
    if kind == "forward":
        return [
            layout.base.register_forward_pre_hook(partial(on_forward, runtime.uid), with_kwargs=True),
            layout.base.register_forward_hook(partial(on_forwarded, runtime.uid)),
        ]
    if kind == "generate":
        return [GenerateHandle(runtime), *map(BridgeSteps, runtime.bridges)]
    if kind == "residual":
        handles = [layout.layers[layer].register_forward_hook(partial(on_residual, runtime.uid, layer))]
        if layer == 0:
            hook = partial(on_embeddings, runtime.uid)
            handles.append(layout.layers[0].register_forward_pre_hook(hook, with_kwargs=True))
        return handles
    assert block is not None
    if kind == "router":
        return [block.router.register_forward_hook(partial(on_router, runtime.uid, layer))]
    if kind == "reads":
        return [block.router.register_forward_pre_hook(partial(on_read, runtime.uid, layer), with_kwargs=True)]
    if kind == "experts":
        return [
            block.experts.register_forward_pre_hook(partial(on_experts, runtime.uid, layer), with_kwargs=True),
            block.experts.register_forward_hook(partial(on_routed, runtime.uid, layer)),
        ]
    if kind == "shared":
        return [block.shared[number].register_forward_hook(partial(on_shared, runtime.uid, layer, number))]
    if kind == "adapted":
        return [block.block.register_forward_hook(partial(on_adapted, runtime.uid, layer), with_kwargs=True)]
    if kind == "gate":
        assert block.shared_gate is not None
        return [block.shared_gate.register_forward_hook(partial(on_gate, runtime.uid, layer))]
    assert kind == "before"
    return [runtime.before[layer].register_forward_pre_hook(partial(on_before, runtime.uid, layer))]
