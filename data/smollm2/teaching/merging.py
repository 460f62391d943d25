"""What was learnt, by the names of the additions: out of a training, into a model, and together with those of smollm2-moe."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .upper import Expert, Upper

PROJECTIONS = ("gate_proj", "up_proj", "down_proj")


def learnt(upper: Upper) -> dict[str, Tensor]:
    """float16 layers.N.experts.E.gate_proj, .up_proj [size, hidden] and .down_proj [hidden, size], which are added to the weights."""
    found: dict[str, Tensor] = {}
    for layer, expert in upper.carriers:
        own = upper.model.model.layers[layer].mlp.experts
        at = own.carriers.index(expert)
        gate, up = own.gate_up.detach()[at].chunk(2)
        for name, tensor in zip(PROJECTIONS, (gate, up, own.down.detach()[at]), strict=True):
            found[f"layers.{layer}.experts.{expert}.{name}"] = tensor.half().contiguous()
    return found


def carriers_of(tensors: Mapping[str, Tensor]) -> list[Expert]:
    """The experts that changed."""
    return sorted({(int(name.split(".")[1]), int(name.split(".")[3])) for name in tensors})


@torch.no_grad()
def put_into(model: Any, tensors: Mapping[str, Tensor]) -> None:
    """Adds what was learnt to a transformers model's experts, in place."""
    for layer, expert in carriers_of(tensors):
        experts = model.model.layers[layer].mlp.experts
        gate, up, down = (tensors[f"layers.{layer}.experts.{expert}.{name}"].float() for name in PROJECTIONS)
        for weight, delta in ((experts.gate_up_proj, torch.cat([gate, up])), (experts.down_proj, down)):
            weight[expert] = (weight[expert].float() + delta).to(weight.dtype)
