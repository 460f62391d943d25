"""One small forward that tells how a model routes: shapes, the routing rule, where the residual stream is, what fails.

Nothing is believed from names alone: the rule is fitted to the router's own answers, the experts must receive what the
router selected, the residual stream is the tensor that really enters the MoE norm.
"""

from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from workbench.anatomy import LayerAnatomy
from workbench.errors import WorkbenchError
from workbench.layout import Layout, MoEBlock
from workbench.routing import Fit, Routing, fit_rule

PROBE_SHAPE = (2, 24)  # sequences x tokens of the survey's forward
_TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-4, torch.float16: 5e-3, torch.bfloat16: 3e-2}


@dataclass
class Seen:
    """What one MoE layer did in the survey's forward."""

    router: list[tuple[Any, ...]] = field(default_factory=list[tuple[Any, ...]])
    received: list[tuple[Tensor, ...]] = field(default_factory=list[tuple[Tensor, ...]])
    block: Tensor | None = None
    layer: Tensor | None = None
    entering: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict[str, tuple[Tensor, Tensor]])
    block_input: Tensor | None = None


class Survey(NamedTuple):
    """Anatomies of all layers, and what `Runtime` needs beside them."""

    layers: tuple[LayerAnatomy, ...]
    before: dict[int, nn.Module]
    multipliers: dict[int, float | None]
    corrections: dict[int, tuple[nn.Module, str]]


def probe_ids(hf: Any) -> Tensor:
    """Fixed pseudo-random token ids for the survey, on the model's input device."""
    embedding = hf.get_input_embeddings().weight
    ids = torch.randint(0, embedding.shape[0], PROBE_SHAPE, generator=torch.Generator().manual_seed(0))
    return ids.to(embedding.device)


@torch.no_grad()
def survey(hf: Any, layout: Layout) -> Survey:
    """Runs the model once and describes each layer. Raises `WorkbenchError` when a router or its experts stay silent."""
    seen = {layer: Seen() for layer in layout.blocks}
    with ExitStack() as stack:
        for layer, block in layout.blocks.items():
            _watch(stack, layout.layers[layer], block, seen[layer])
        hf(probe_ids(hf), use_cache=False)
    layers, before = list[LayerAnatomy](), dict[int, nn.Module]()
    multipliers, corrections = dict[int, float | None](), dict[int, tuple[nn.Module, str]]()
    for number, decoder in enumerate(layout.layers):
        if number not in layout.blocks:
            layers.append(LayerAnatomy(number))
            continue
        block, found = layout.blocks[number], seen[number]
        anatomy, correction = _describe(hf, block, found)
        layers.append(anatomy)
        if correction is not None:
            corrections[number] = correction
        norm = _norm_before(decoder, found)
        if norm is not None:
            before[number], multipliers[number] = norm, _multiplier(found, norm)
    return Survey(tuple(layers), before, multipliers, corrections)


def _watch(stack: ExitStack, decoder: nn.Module, block: MoEBlock, seen: Seen) -> None:
    def hold(handle: Any) -> None:
        stack.callback(handle.remove)

    def on_received(module: Any, args: Any, kwargs: Any) -> None:
        seen.received.append(tuple([*args, *kwargs.values()][:3]))

    def on_block(module: Any, args: Any, kwargs: Any, out: Any) -> None:
        seen.block_input = args[0] if args else next(iter(kwargs.values()))
        seen.block = out[0] if isinstance(out, tuple) else out

    def on_layer(module: Any, args: Any, out: Any) -> None:
        seen.layer = out[0] if isinstance(out, tuple) else out

    def on_child(name: str) -> Any:
        def hook(module: Any, args: Any, out: Any) -> None:
            if isinstance(out, Tensor) and args and isinstance(args[0], Tensor):
                seen.entering[name] = (args[0], out)

        return hook

    hold(block.router.register_forward_hook(lambda m, a, out: seen.router.append(tuple(out))))
    hold(block.experts.register_forward_pre_hook(on_received, with_kwargs=True))
    hold(block.block.register_forward_hook(on_block, with_kwargs=True))
    hold(decoder.register_forward_hook(on_layer))
    for name, child in decoder.named_children():
        if child is not block.block:
            hold(child.register_forward_hook(on_child(name)))


def _describe(hf: Any, block: MoEBlock, seen: Seen) -> tuple[LayerAnatomy, tuple[nn.Module, str] | None]:
    logits, routing = _checked_routing(block, seen)
    candidates = _corrections(block, logits.shape[-1])
    groups = _groups(hf, block.router)
    tolerance = _TOLERANCE.get(routing.weights.dtype, 3e-2)
    # meta tensors (weights on disk) have no values to fit with
    tensors = {n: getattr(m, a).detach().reshape(-1) for n, (m, a) in candidates.items()}
    fit = fit_rule(logits, routing, {n: t for n, t in tensors.items() if not t.is_meta}, groups, tolerance)
    anatomy = LayerAnatomy(
        block.layer,
        logits.shape[-1],
        routing.index.shape[-1],
        len(block.shared),
        block.router_name,
        block.experts_name,
        block.shared_names,
        fit.rule,
        _refusals(fit),
    )
    return anatomy, candidates[fit.correction] if fit.correction else None


def _refusals(fit: Fit) -> dict[str, str]:
    return dict.fromkeys(("off", "force", "bias"), fit.reason) if fit.rule is None else {}


def _checked_routing(block: MoEBlock, seen: Seen) -> tuple[Tensor, Routing]:
    """Logits [tokens, experts] and the selection, after checking that router and experts agree on them."""
    where = f"Layer {block.layer} ('{block.router_name}')"
    if len(seen.router) != 1 or len(seen.received) != 1:
        raise WorkbenchError(
            f"{where}: the router ran {len(seen.router)} times and the experts {len(seen.received)} times in one forward, not "
            f"once each; a fused kernel or a wrapper bypasses them. Load the model without kernels (MXFP4: dequantize=True)."
        )
    out, (_, index, weights) = seen.router[0], seen.received[0]
    tokens = PROBE_SHAPE[0] * PROBE_SHAPE[1]
    shapes = [tuple(x.shape) for x in out if isinstance(x, Tensor)]
    if len(shapes) < 3 or out[0].shape[0] != tokens or out[1].shape != out[2].shape or out[1].shape[0] != tokens:
        raise WorkbenchError(
            f"{where}: the router returned {shapes}, and we know (logits [tokens, experts], weights and index [tokens, k]); "
            f"this family is not supported."
        )
    if not torch.equal(out[2].to(index.device), index) or not torch.equal(out[1].to(weights.device), weights):
        raise WorkbenchError(
            f"{where}: the experts did not receive what the router selected, so routing cannot be trusted."
        )
    return out[0], Routing(out[1], out[2])


def _corrections(block: MoEBlock, n_experts: int) -> dict[str, tuple[nn.Module, str]]:
    """Correction-bias tensors of the router or its block: [experts] values whose name says so."""
    found: dict[str, tuple[nn.Module, str]] = {}
    for module in (*block.router.modules(), block.block):
        tensors = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
        for name, tensor in tensors:
            if "correction" in name and tensor.numel() == n_experts:
                found.setdefault(name, (module, name))
    return found


def _groups(hf: Any, router: nn.Module) -> tuple[int, int]:
    config = hf.config.get_text_config()
    n = getattr(router, "num_group", None) or getattr(config, "n_group", None) or 1
    kept = getattr(router, "topk_group", None) or getattr(config, "topk_group", None) or 1
    return int(n), int(kept)


def _norm_before(decoder: nn.Module, seen: Seen) -> nn.Module | None:
    """The child of the decoder layer whose output is the MoE block's input: its own input is the residual stream."""
    assert seen.block_input is not None
    for name, (_, out) in seen.entering.items():
        if out.shape == seen.block_input.shape and torch.equal(out, seen.block_input):
            return decoder.get_submodule(name)
    return None


def _multiplier(seen: Seen, norm: nn.Module) -> float | None:
    """M in layer output = residual + m * block output, by least squares; None when the layer is no such sum."""
    before = next(
        x for x, out in seen.entering.values() if seen.block_input is not None and torch.equal(out, seen.block_input)
    )
    assert seen.block is not None
    assert seen.layer is not None
    step = (seen.layer.double() - before.double()).reshape(-1)
    block = seen.block.double().reshape(-1)
    m = float((step @ block) / (block @ block).clamp_min(1e-30))
    is_sum = (step - m * block).norm() <= 2e-2 * step.norm().clamp_min(1e-30)
    return None if not is_sum else 1.0 if abs(m - 1) < 2e-2 else m
