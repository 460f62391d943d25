"""The hook on a block that an adapter speaks for: it runs through the adapter, and edited tokens take its output."""

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor

from workbench.hooks.active import active, running
from workbench.model import first, rerun, runtime_of

_TOUCHED: ContextVar[list[Tensor] | None] = ContextVar("workbench_touched", default=None)


def touch(slots: Callable[[], Tensor]) -> None:
    """Notes slots [tokens, k] that an edit changes, where the block's adapter wants to know."""
    found = _TOUCHED.get()
    if found is not None:
        found.append(slots().any(-1))


def on_adapted(uid: int, layer: int, module: Any, args: Any, *rest: Any) -> Any:
    """Runs the block through its adapter, where the hooks on router and experts see it; edited tokens have its output."""
    now = active(uid)
    edited = now is not None and now.compiled is not None and layer in now.compiled.routed
    if now is None or not (edited or now.recorder is not None):
        return None
    output, named = rest[-1], rest[0] if len(rest) > 1 else {}
    block, hidden = runtime_of(uid).layout.blocks[layer], args[0] if args else next(iter(named.values()))
    assert block.adapter is not None
    forward = running(uid, now)
    if forward is not None:
        forward.rerunning = True  # its shared experts were counted when the model ran them
    touched = list[Tensor]()
    token = _TOUCHED.set(touched)
    try:
        new = rerun(block.adapter, block.block, block.router, block.experts, hidden)
    finally:
        _TOUCHED.reset(token)
        if forward is not None:
            forward.rerunning = False
    if not edited:
        return None
    own = first(output)
    rows = torch.stack(touched).any(0)[:, None]
    new = torch.where(rows, new.to(own.dtype).reshape(len(rows), -1), own.reshape(len(rows), -1)).reshape(own.shape)
    return (new, *output[1:]) if isinstance(output, tuple) else new
