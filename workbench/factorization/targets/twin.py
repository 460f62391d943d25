"""A small random twin of a dense model, on which is seen what the model's code does before any of its weights are read.

The twin is of the model's own classes, with its widths, heads, rope and kinds of layers, and with few layers, neurons and tokens.
"""

from collections.abc import Iterable
from copy import deepcopy
from typing import Any

import torch

from workbench.errors import WorkbenchError

from .modules import HEAD_NORMS, NORMS

WINDOW, VOCABULARY = 3, 64


def twin_config(config: Any, neurons: int) -> Any:
    """The config of the twin; neurons: of its MLPs."""
    small = deepcopy(config)
    kinds = list(dict.fromkeys(getattr(config, "layer_types", None) or []))
    layers = min(config.num_hidden_layers, max(2, len(kinds)))
    if kinds:
        small.layer_types = [kinds[i % len(kinds)] for i in range(layers)]
    if isinstance(getattr(config, "sliding_window", None), int):
        small.sliding_window = WINDOW
    small.num_hidden_layers, small.vocab_size, small.intermediate_size = layers, VOCABULARY, neurons
    small.bos_token_id = small.eos_token_id = small.pad_token_id = None
    return small


@torch.no_grad()
def twin_of(config: Any, biases: Iterable[str]) -> Any:
    """A transformers model of the twin's config in float32, of which only these biases are not zero."""
    from transformers import AutoModelForCausalLM

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
        for name, weight in model.named_parameters():
            if name.endswith("_proj.bias"):
                weight.copy_(torch.randn(weight.shape) * (0.3 if name.endswith(tuple(biases)) else 0.0))
            elif weight.ndim == 1:
                weight.add_(0.3 * torch.randn(weight.shape))
            else:
                weight.copy_(torch.randn(weight.shape) * (1.0 if "embed" in name else weight.shape[-1] ** -0.5))
    return model


def offsets(twin: Any) -> dict[str, float]:
    """By the end of a norm's name, what is added to its weight (Gemma: 1, others: 0).

    Raises `WorkbenchError` naming the module that is no RMSNorm.
    """
    names = [f"model.layers.0.{name}" for name in (*NORMS, *HEAD_NORMS)] + ["model.norm.weight"]
    modules = dict(twin.named_modules())
    found: dict[str, float] = {}
    for name in names:
        module = modules.get(name.removesuffix(".weight"))
        if module is not None:
            found[name.removeprefix("model.layers.0.")] = _offset(module, name, twin.config.rms_norm_eps)
    return found


@torch.no_grad()
def _offset(module: Any, name: str, eps: float) -> float:
    x = torch.randn(4, module.weight.shape[-1], generator=torch.Generator().manual_seed(0)) * 2 + 0.5
    plain = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps)
    for offset in (0.0, 1.0):
        if torch.allclose(module(x), plain * (offset + module.weight), rtol=1e-4, atol=1e-5):
            return offset
    raise WorkbenchError(
        f"{name.removesuffix('.weight')} is a {type(module).__name__} which computes no RMSNorm of its weight, and no MoE "
        f"architecture of transformers has it; this model cannot be rewritten."
    )


@torch.no_grad()
def embedding_scale(twin: Any) -> float:
    """What the embedding's rows are multiplied by on their way into the first layer (Gemma: the root of the width).

    Raises `WorkbenchError` where that is not one number.
    """
    embed = twin.model.embed_tokens
    ratio = embed(torch.arange(VOCABULARY)) / embed.weight
    scale = ratio.median()
    if not torch.allclose(ratio, scale.expand_as(ratio), rtol=1e-5):
        raise WorkbenchError(
            f"model.embed_tokens is a {type(embed).__name__} which does more than to look up and scale, and no MoE "
            f"architecture of transformers has it; this model cannot be rewritten."
        )
    return 1.0 if abs(float(scale) - 1) < 1e-6 else float(getattr(embed, "scalar_embed_scale", scale))
