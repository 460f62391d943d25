"""What additions say that a checkpoint computes, token by token and expert by expert out of the dense model: a second reading."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor


def said_by(dense: Any, tensors: Mapping[str, Tensor], experts: int, top_k: int) -> Any:
    """The dense model with its weights and MLPs as the tensors say (data/checkpoints/README.md)."""
    model = copy.deepcopy(dense)
    parameters = dict(model.model.named_parameters())
    with torch.no_grad():
        for name, b in tensors.items():
            if name.endswith(".b"):
                for column, row in zip(b.float().T, tensors[name[:-1] + "a"].float(), strict=True):
                    parameters[f"{name[:-2]}.weight"] += torch.outer(column, row)
            elif name in parameters:
                parameters[name] += tensors[name].float()
    for i, layer in enumerate(model.model.layers):
        own = {k.removeprefix(f"layers.{i}."): v for k, v in tensors.items() if k.startswith(f"layers.{i}.")}
        layer.mlp.forward = _routed(layer.mlp, own, experts, top_k)
    return model


def _routed(mlp: Any, own: Mapping[str, Tensor], experts: int, top_k: int) -> Callable[[Tensor], Tensor]:
    def group(x: Tensor, number: int) -> Tensor:
        neurons = own["groups"][number].long()
        gate, up, down = mlp.gate_proj.weight[neurons], mlp.up_proj.weight[neurons], mlp.down_proj.weight[:, neurons]
        if f"experts.{number}.gate_proj" in own:
            more = (own[f"experts.{number}.{name}_proj"].float() for name in ("gate", "up", "down"))
            gate, up, down = (weight + change for weight, change in zip((gate, up, down), more, strict=True))
        return down @ (mlp.act_fn(gate @ x) * (up @ x))

    def token(x: Tensor) -> Tensor:
        score = torch.sigmoid(own["router.weight"].float() @ x)
        chosen = sorted(range(experts), key=lambda e: -float(score[e] + own["router.bias"][e]))[:top_k]
        shared = range(experts, len(own["groups"]))
        return sum((group(x, n) for n in shared), sum(2 * score[e] * group(x, e) for e in chosen))  # type: ignore[return-value]

    def forward(states: Tensor) -> Tensor:
        return torch.stack([torch.stack([token(x) for x in row]) for row in states])

    return forward
