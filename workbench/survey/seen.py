"""What each MoE layer did in one forward, as its hooks saw it: of this the survey tells how a model routes."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from torch import Tensor, nn

from workbench.model import MoEBlock, first, logits_first


@dataclass
class Seen:
    """What one MoE layer did in the survey's forward."""

    router: list[tuple[Any, ...]] = field(default_factory=list[tuple[Any, ...]])
    router_call: tuple[Any, Any] = ((), {})
    received: list[tuple[Tensor, ...]] = field(default_factory=list[tuple[Tensor, ...]])
    routed: Tensor | None = None
    block: Tensor | None = None
    layer: Tensor | None = None
    shared: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    gate: Tensor | None = None
    entering: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict[str, tuple[Tensor, Tensor]])
    block_input: Tensor | None = None


@contextmanager
def watched(decoder: nn.Module | None, block: MoEBlock, seen: Seen) -> Iterator[None]:
    """While open, forwards of one layer are noted in `seen`. decoder: the layer around the block, if it is known."""
    handles = [*_in_block(block, seen), *(_in_layer(decoder, block, seen) if decoder is not None else ())]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _in_block(block: MoEBlock, seen: Seen) -> Iterator[Any]:
    yield block.router.register_forward_hook(partial(_on_router, seen), with_kwargs=True)
    yield block.experts.register_forward_pre_hook(partial(_on_received, seen), with_kwargs=True)
    yield block.experts.register_forward_hook(partial(_on_answer, seen, "routed"))
    for name, shared in zip(block.shared_names, block.shared, strict=True):
        yield shared.register_forward_hook(partial(_on_shared, seen, name))
    if block.shared_gate is not None:
        yield block.shared_gate.register_forward_hook(partial(_on_answer, seen, "gate"))
    yield block.block.register_forward_hook(partial(_on_block, seen), with_kwargs=True)


def _in_layer(decoder: nn.Module, block: MoEBlock, seen: Seen) -> Iterator[Any]:
    yield decoder.register_forward_hook(partial(_on_answer, seen, "layer"))
    for name, child in decoder.named_children():
        if child is not block.block:
            yield child.register_forward_hook(partial(_on_child, seen, name))


def _on_router(seen: Seen, module: Any, args: Any, kwargs: Any, out: Any) -> None:
    seen.router_call = (args, kwargs)
    seen.router.append(logits_first(tuple(out)) if isinstance(out, tuple | list) else (out,))


def _on_received(seen: Seen, module: Any, args: Any, kwargs: Any) -> None:
    seen.received.append(tuple([*args, *kwargs.values()][:3]))


def _on_block(seen: Seen, module: Any, args: Any, kwargs: Any, out: Any) -> None:
    seen.block_input = args[0] if args else next(iter(kwargs.values()))
    seen.block = first(out)


def _on_answer(seen: Seen, what: str, module: Any, args: Any, out: Any) -> None:
    setattr(seen, what, first(out))


def _on_shared(seen: Seen, name: str, module: Any, args: Any, out: Any) -> None:
    seen.shared[name] = out


def _on_child(seen: Seen, name: str, module: Any, args: Any, out: Any) -> None:
    if isinstance(out, Tensor) and args and isinstance(args[0], Tensor):
        seen.entering[name] = (args[0], out)
