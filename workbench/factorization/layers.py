"""The MoE model's tensors, a layer at a time, out of the dense model's: the same numbers in other places."""

from collections.abc import Mapping

import torch
from torch import Tensor

from .groups import Groups, Router
from .targets import PROJECTIONS, Fit

Tensors = dict[str, Tensor]


def outside(state: Mapping[str, Tensor], fit: Fit, dtype: torch.dtype) -> Tensors:
    """Embedding, last norm and head; a head that is tied is left out."""
    embed = state["model.embed_tokens.weight"]
    made = {
        "model.embed_tokens.weight": embed.to(dtype) if fit.embedded == 1 else (embed.float() * fit.embedded).to(dtype),
        "model.norm.weight": _norm(state["model.norm.weight"], fit.offsets["model.norm.weight"], dtype),
    }
    return made if fit.tied else made | {"lm_head.weight": state["lm_head.weight"].to(dtype)}


def layer_tensors(
    state: Mapping[str, Tensor], layer: int, groups: Groups, router: Router | None, fit: Fit, dtype: torch.dtype
) -> Tensors:
    """All tensors of one layer under the names that they have in the transformers model; without a router, zeros route."""
    at = f"model.layers.{layer}."
    own = {name.removeprefix(at): tensor for name, tensor in state.items() if name.startswith(at)}
    made = {name: _norm(own[name], offset, dtype) for name, offset in fit.offsets.items() if name in own}
    made |= _attention(own, fit, dtype) | _mlp(own, groups, router, fit, dtype)
    return {at + name: tensor for name, tensor in made.items()}


def _norm(weight: Tensor, offset: float, dtype: torch.dtype) -> Tensor:
    return (weight.float() + offset).to(dtype) if offset else weight.to(dtype)


def _attention(own: Mapping[str, Tensor], fit: Fit, dtype: torch.dtype) -> Tensors:
    """Projections, and a bias wherever the architecture has one: zeros where the dense model has none."""
    made: Tensors = {}
    biases = fit.architecture.biases(fit.attention)
    for p in PROJECTIONS:
        weight = own[f"self_attn.{p}_proj.weight"]
        made[f"self_attn.{p}_proj.weight"] = weight.to(dtype)
        if p in biases:
            bias = own.get(f"self_attn.{p}_proj.bias", weight.new_zeros(len(weight)))
            made[f"self_attn.{p}_proj.bias"] = bias.to(dtype)
    return made


def _mlp(own: Mapping[str, Tensor], groups: Groups, router: Router | None, fit: Fit, dtype: torch.dtype) -> Tensors:
    to, (experts, size) = fit.architecture, groups.routed.shape
    gate, up, down = (own[f"mlp.{name}_proj.weight"] for name in ("gate", "up", "down"))
    hidden, routed, shared = gate.shape[1], groups.routed.reshape(-1), groups.shared
    both = [x[routed].reshape(experts, size, hidden) for x in (gate, up)]
    out = down.T[routed].reshape(experts, size, hidden).transpose(1, 2) * to.routed_scale(experts)
    made = {
        "experts.gate_up_proj": torch.cat(both, dim=1),
        "experts.down_proj": out.contiguous(),
        "gate.weight": gate.new_zeros(experts, hidden) if router is None else router.weight,
        f"{to.shared}.gate_proj.weight": gate[shared],
        f"{to.shared}.up_proj.weight": up[shared],
        f"{to.shared}.down_proj.weight": (down[:, shared] * to.shared_scale).contiguous(),
    }
    if to.shared_gate:
        made["shared_expert_gate.weight"] = gate.new_zeros(1, hidden)
    made = {name: tensor.to(dtype) for name, tensor in made.items()}
    if to.bias:  # transformers keeps it in float32 whatever the others are in
        made["gate.e_score_correction_bias"] = torch.zeros(experts) if router is None else router.bias.float()
    return {f"mlp.{name}": tensor for name, tensor in made.items()}


def as_stored(tensors: Mapping[str, Tensor]) -> Tensors:
    """The same tensors as checkpoints name them, and other readers (vLLM) want them: three matrices for each expert."""
    made: Tensors = {}
    for name, tensor in tensors.items():
        at, fused, _ = name.partition("gate_up_proj")
        if fused:
            for expert, whole in enumerate(tensor):
                for part, half in zip(("gate_proj", "up_proj"), whole.chunk(2), strict=True):
                    made[f"{at}{expert}.{part}.weight"] = half
        elif name.endswith("experts.down_proj"):
            at = name.removesuffix("down_proj")
            made |= {f"{at}{expert}.down_proj.weight": whole for expert, whole in enumerate(tensor)}
        else:
            made[name] = tensor
    return {name: tensor.contiguous().clone() for name, tensor in made.items()}
