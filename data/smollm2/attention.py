"""Causal attention in blocks of queries, each of which reads the keys up to its own end: twice as fast as torch's own in bfloat16
on a CPU without matrix units, forward and backward. For rows without padding.
"""

from typing import Any

import torch
from torch import Tensor

_BLOCK = 128


def in_blocks(model: Any) -> Any:
    """Makes the model attend so; returns it."""
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register("in_blocks", _attend)
    AttentionMaskInterface.register("in_blocks", _no_mask)
    model.config._attn_implementation = "in_blocks"
    return model


def _no_mask(*_: Any, **__: Any) -> None:
    return None


def _attend(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, scaling: float, **_: Any
) -> tuple[Tensor, None]:
    """Of [rows, heads, length, width], with fewer heads of keys and values; to [rows, length, heads, width]."""
    key, value = (x.repeat_interleave(module.num_key_value_groups, 1) for x in (key, value))
    later = torch.full((_BLOCK, _BLOCK), float("-inf"), dtype=query.dtype).triu(1)
    found: list[Tensor] = []
    for start in range(0, query.shape[2], _BLOCK):
        end = min(start + _BLOCK, query.shape[2])
        scores = query[:, :, start:end] @ key[:, :, :end].mT * scaling
        own = scores[..., start:] + later[: end - start, : end - start]
        shares = torch.cat([scores[..., :start], own], -1).softmax(-1)
        found.append(shares @ value[:, :, :end])
    return torch.cat(found, 2).transpose(1, 2), None
