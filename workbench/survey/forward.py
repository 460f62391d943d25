"""One small forward that tells how a model routes: shapes, the routing rule, where the residual stream is, what fails.

Nothing is believed from names alone: the rule is fitted to the router's own answers, the experts must receive what the
router selected, the residual stream is the tensor that really enters the MoE norm.
"""

from contextlib import ExitStack
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from workbench.anatomy import LayerAnatomy
from workbench.errors import WorkbenchError
from workbench.model import Layout, MoEBlock, RouterFacts, brought, first, logits_first, rerun
from workbench.survey.residual import norm_before, residual_reason, routed_multiplier
from workbench.survey.router import router_facts
from workbench.survey.seen import Seen, watched
from workbench.survey.suitable import check_head

PROBE_SHAPE = (2, 24)  # sequences x tokens of the survey's forward


class Survey(NamedTuple):
    """Anatomies of all layers, and what `Runtime` needs beside them."""

    layers: tuple[LayerAnatomy, ...]
    before: dict[int, nn.Module]
    multipliers: dict[int, float | None]
    facts: dict[int, RouterFacts]


def probe_ids(hf: Any) -> Tensor:
    """Fixed pseudo-random token ids for the survey, on the model's input device; the last eight repeat the first."""
    embedding = hf.get_input_embeddings().weight
    ids = torch.randint(0, embedding.shape[0], PROBE_SHAPE, generator=torch.Generator().manual_seed(0))
    ids[1, -8:] = ids[0, :8]  # tokens in two contexts: a hash router is told by them
    return ids if embedding.is_meta else ids.to(embedding.device)


@torch.no_grad()
def survey(hf: Any, layout: Layout) -> Survey:
    """Runs the model once and describes each layer. Raises `WorkbenchError` when a router or its experts stay silent."""
    seen = {layer: Seen() for layer in layout.blocks}
    ids = probe_ids(hf)
    with ExitStack() as stack:
        for layer, block in layout.blocks.items():
            decoder = layout.layers[layer] if layout.layers else None
            stack.enter_context(watched(decoder, block, seen[layer]))
            if block.adapter is not None:
                stack.callback(block.block.register_forward_hook(_check_adapter(block), with_kwargs=True).remove)
        answer = ran(hf, ids)
    check_head(hf, getattr(answer, "logits", None), PROBE_SHAPE)
    for layer, block in layout.blocks.items():
        _check_offloaded(block, seen[layer])
    return described(hf, layout, seen, ids)


def described(hf: Any, layout: Layout, seen: dict[int, Seen], ids: Tensor) -> Survey:
    """The description of each layer from what it did in a forward over `ids`."""
    layers, before = list[LayerAnatomy](), dict[int, nn.Module]()
    multipliers, facts = dict[int, float | None](), dict[int, RouterFacts]()
    for number in range(layout.n_layers):
        if number not in layout.blocks:
            layers.append(LayerAnatomy(number))
            continue
        block, found = layout.blocks[number], seen[number]
        check_ran(block, found)
        facts[number] = router_facts(hf, block, found.router[0], found.received[0], ids, found.router_call)
        norm = norm_before(layout, block, found)
        if norm is not None:
            before[number], multipliers[number] = norm, routed_multiplier(found)
        layers.append(describe(hf, layout, block, found, facts[number], multipliers.get(number)))
    return Survey(tuple(layers), before, multipliers, facts)


def ran(hf: Any, ids: Tensor) -> Any:
    """The model's answer; what it raises by itself is one sentence."""
    try:
        return hf(ids, use_cache=False)
    except WorkbenchError:
        raise
    except (RuntimeError, ValueError, TypeError, LookupError, AttributeError, AssertionError) as error:
        away = any(p.is_meta for p in hf.parameters())
        remedy = (
            "it reads offloaded weights outside of their modules; load it whole"
            if away
            else "make its own forward work"
        )
        said = (str(error).strip() or "no message").splitlines()[0].rstrip(".")
        raise WorkbenchError(
            f"{type(hf).__name__} itself fails on {ids.numel()} random token ids ({type(error).__name__}: {said}); {remedy}."
        ) from error


def _check_offloaded(block: MoEBlock, seen: Seen) -> None:
    """A router that reads an offloaded weight outside of its module computes with memory that holds anything, in silence."""
    if not any(p.is_meta for p in block.router.parameters()) or not seen.router:
        return
    args, kwargs = seen.router_call
    with brought(block.router):
        again = first(logits_first(block.router(*args, **kwargs)))
    if not torch.allclose(again.float(), seen.router[0][0].float(), rtol=1e-2, atol=1e-3):
        raise WorkbenchError(
            f"Layer {block.layer} ('{block.router_name}'): with its offloaded weights brought in, the router answers something "
            f"else than in the model's forward, so that reads weights outside of their modules; load the model whole."
        )


def _check_adapter(block: MoEBlock) -> Any:
    """A hook that runs the adapter beside the block, and refuses one that does not compute what the block computes."""

    def hook(module: Any, args: Any, kwargs: Any, out: Any) -> None:
        assert block.adapter is not None
        hidden, own = args[0] if args else next(iter(kwargs.values())), first(out)
        ours = rerun(block.adapter, block.block, block.router, block.experts, hidden).reshape(own.shape)
        off = ((ours - own).norm() / own.norm().clamp_min(1e-30)).item()
        if not off <= (1e-4 if own.dtype in (torch.float32, torch.float64) else 3e-2):
            raise WorkbenchError(
                f"The adapter {type(block.adapter).__name__} does not compute what layer {block.layer} "
                f"({type(module).__name__}) computes: the outputs differ by {off:.2g} of their norm; look at its route, expert "
                f"and combine."
            )

    return hook


def check_ran(block: MoEBlock, seen: Seen) -> None:
    where = f"Layer {block.layer} ('{block.router_name}')"
    if len(seen.router) != 1 or len(seen.received) != 1:
        raise WorkbenchError(
            f"{where}: the router ran {len(seen.router)} times and the experts {len(seen.received)} times in one forward, not "
            f"once each; a fused kernel or a wrapper bypasses them. Load the model without kernels (use_kernels=False; MXFP4: "
            f"quantization_config=Mxfp4Config(dequantize=True))."
        )
    outputs = [x for x in (seen.routed, *seen.shared.values()) if isinstance(x, Tensor)]
    spoilt = next((x for x in outputs if not x.isfinite().all()), None)
    if spoilt is not None:
        raise WorkbenchError(
            f"{where}: the experts' output in {str(spoilt.dtype).removeprefix('torch.')} is not finite on random tokens, so "
            f"nothing can be measured; look at the weights, and load a model that overflows in float16 in bfloat16."
        )
    if seen.block is None or seen.routed is None:
        raise WorkbenchError(
            f"{where}: the block's or the experts' own hooks never fired, so something calls their forward directly and we "
            f"would see nothing; call the modules themselves."
        )


def describe(
    hf: Any, layout: Layout, block: MoEBlock, seen: Seen, facts: RouterFacts, multiplier: float | None
) -> LayerAnatomy:
    assert seen.routed is not None
    width = seen.routed.shape[-1]
    hidden = hf.config.get_text_config().hidden_size
    residual = residual_reason(layout, block, seen, PROBE_SHAPE, hidden)
    refused = {**facts.refused, **({"residual": residual} if residual else {})}
    if multiplier is None:
        refused["routed_change"] = (
            residual or "the layer is no sum of the residual stream before its MoE norm and the experts"
        )
    if getattr(block.adapter, "weights_on_input", False):
        refused["replace"] = "the routing weight multiplies the expert's input, so its output has no weight to keep"
    notes = facts.notes if width == hidden else (*facts.notes, f"experts work in a space of {width} channels")
    return LayerAnatomy(
        block.layer,
        facts.n_experts,
        facts.top_k,
        len(block.shared),
        block.router_name,
        block.experts_name,
        block.shared_names,
        facts.rule,
        refused,
        notes,
        0 if width == hidden else width,
        facts.probabilities,
    )
