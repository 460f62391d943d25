"""What a dense model is made of, by the names of its tensors: its attention, and whatever no MoE architecture holds.

Only names and shapes are looked at, on the meta device, so nothing is read and nothing is computed.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from workbench.errors import WorkbenchError, listed

NORMS = ("input_layernorm.weight", "post_attention_layernorm.weight")
MLP = tuple(f"mlp.{name}_proj.weight" for name in ("gate", "up", "down"))
PROJECTIONS = ("q", "k", "v", "o")
HEAD_NORMS = ("self_attn.q_norm.weight", "self_attn.k_norm.weight")
REQUIRED = (*NORMS, *MLP, *(f"self_attn.{p}_proj.weight" for p in PROJECTIONS))
BIASES = tuple(f"self_attn.{p}_proj.bias" for p in PROJECTIONS)
OUTSIDE = ("model.embed_tokens.weight", "model.norm.weight", "lm_head.weight")
_LAYER = re.compile(r"model\.layers\.(\d+)\.(.+)")


@dataclass(frozen=True)
class Attention:
    """What attention needs of an architecture.

    biases   which of q, k, v, o have one
    normed   whether queries and keys go through a norm of their own, head by head
    windows  by layer, how many positions a token sees; None is all
    partial  the share of a head that is rotated
    """

    biases: frozenset[str]
    normed: bool
    windows: tuple[int | None, ...]
    partial: float


def empty(config: Any) -> Any:
    """The transformers model of this config without memory behind its tensors.

    Raises `WorkbenchError` where there is no causal language model of it.
    """
    from transformers import AutoModelForCausalLM

    try:
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(config)
    except Exception as error:  # transformers and the modelling code raise anything
        raise WorkbenchError(
            f"No causal language model could be built from a {type(config).__name__} ({str(error).splitlines()[0]:.200})."
        ) from error


def shapes(model: Any) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor that a checkpoint of it has."""
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def strange(tensors: Mapping[str, tuple[int, ...]], head_dim: int) -> list[str]:
    """Modules that no MoE architecture of `architectures` holds, each once (layers as *), in the model's order.

    Biases are not among them: those whose values are all zero change nothing (see `biased`).
    """
    found: dict[str, None] = {}
    for name, shape in tensors.items():
        inside = _LAYER.fullmatch(name)
        known = inside[2] in (*REQUIRED, *HEAD_NORMS) if inside else name in OUTSIDE
        whole = inside is not None and inside[2] in HEAD_NORMS and shape != (head_dim,)
        if (not known and not name.endswith("_proj.bias")) or whole:
            module = name.rpartition(".")[0]
            found[re.sub(r"\.\d+\.", ".*.", module)] = None
    return list(found)


def missing(tensors: Mapping[str, tuple[int, ...]], layers: int) -> list[str]:
    """Modules that every architecture here needs and that this model lacks (layers as *)."""
    lacks = [name for name in REQUIRED if any(f"model.layers.{i}.{name}" not in tensors for i in range(layers))]
    outside = [name for name in OUTSIDE if name not in tensors]
    return [f"model.layers.*.{name}" for name in lacks] + outside


def biased(state: Mapping[str, Any]) -> frozenset[str]:
    """Which of q, k, v, o have a bias that is not zero everywhere, and every other such bias by its module."""
    found: set[str] = set()
    for name, tensor in state.items():
        inside = _LAYER.fullmatch(name)
        if name.endswith("_proj.bias") and (tensor.is_meta or bool(tensor.any())):
            found.add(inside[2] if inside else name)
    return frozenset(found)


def attention(config: Any, tensors: Mapping[str, tuple[int, ...]], biases: frozenset[str]) -> Attention:
    """What the attention of a model with this config and these tensors needs."""
    other = sorted(biases - set(BIASES))
    if other:
        raise WorkbenchError(
            f"{listed([f'model.layers.*.{name}' for name in other])} of a {type(config).__name__} is not zero, and "
            f"no MoE architecture of transformers has experts with such a bias; this model cannot be rewritten."
        )
    normed = any(name.endswith(HEAD_NORMS) for name in tensors)
    partial = float((config.rope_parameters or {}).get("partial_rotary_factor", 1.0))
    return Attention(frozenset(b.split(".")[1][0] for b in biases), normed, windows(config), partial)


def windows(config: Any) -> tuple[int | None, ...]:
    """How many positions each layer's attention sees; None is all of them."""
    layers, width = config.num_hidden_layers, getattr(config, "sliding_window", None)
    kinds = getattr(config, "layer_types", None)
    if kinds is None:
        return (width,) * layers
    strange = sorted(set(kinds) - {"full_attention", "sliding_attention"})
    if strange:
        raise WorkbenchError(
            f"Layers of the kind {listed(strange)} in layer_types of a {type(config).__name__} are in no MoE architecture that "
            f"this can be rewritten to."
        )
    return tuple(width if kind == "sliding_attention" else None for kind in kinds)
