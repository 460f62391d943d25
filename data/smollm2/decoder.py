"""A fast sampler of a dense Llama: every sequence of a batch has the same columns, and caches are made once.

transformers' own caches grow by a copy of everything at each token, which at 128 sequences takes most of the time.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear, scaled_dot_product_attention, silu


class Decoder:
    """Next-token logits of `rows` sequences of up to `columns` tokens, in the model's own dtype."""

    def __init__(self, model: Any, rows: int, columns: int) -> None:
        config = model.config
        self.model, self.eps = model.model, config.rms_norm_eps
        self.heads, self.kept, self.width = config.num_attention_heads, config.num_key_value_heads, config.head_dim
        made = torch.zeros(2, len(self.model.layers), rows, self.kept, columns, self.width, dtype=model.dtype)
        self.keys, self.values = made
        rates = config.rope_parameters["rope_theta"] ** (-torch.arange(0, self.width, 2) / self.width)
        turn = torch.arange(columns)[:, None] * rates
        self.cos, self.sin = (torch.cat([x, x], -1).to(model.dtype) for x in (turn.cos(), turn.sin()))

    @torch.no_grad()
    def next(self, ids: Tensor, at: int) -> Tensor:
        """Logits [rows, vocabulary] after ids [rows, n], which lie in the columns from `at`."""
        x, columns = self.model.embed_tokens(ids), slice(at, at + ids.shape[1])
        for layer, block in enumerate(self.model.layers):
            x = x + self._attention(block, layer, self._norm(x, block.input_layernorm), columns)
            read, mlp = self._norm(x, block.post_attention_layernorm), block.mlp
            x = x + mlp.down_proj(silu(mlp.gate_proj(read)) * mlp.up_proj(read))
        return linear(self._norm(x[:, -1], self.model.norm), self.model.embed_tokens.weight)

    def _norm(self, x: Tensor, norm: Any) -> Tensor:
        return torch.nn.functional.rms_norm(x, x.shape[-1:], norm.weight, self.eps)

    def _attention(self, block: Any, layer: int, read: Tensor, columns: slice) -> Tensor:
        own, keys, values = block.self_attn, self.keys[layer], self.values[layer]
        q, k, v = (
            p(read).unflatten(-1, (-1, self.width)).transpose(1, 2) for p in (own.q_proj, own.k_proj, own.v_proj)
        )
        keys[:, :, columns], values[:, :, columns] = self._turned(k, columns), v
        found = _attended(self._turned(q, columns), keys[:, :, : columns.stop], values[:, :, : columns.stop])
        return own.o_proj(found.transpose(1, 2).flatten(-2))

    def _turned(self, x: Tensor, columns: slice) -> Tensor:
        first, second = x.chunk(2, -1)
        return x * self.cos[columns] + torch.cat([-second, first], -1) * self.sin[columns]


def _attended(q: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Of the first columns, each to those before it, or of a single new one to all: there torch's own is five times slower."""
    if q.shape[2] > 1:
        return scaled_dot_product_attention(q, keys, values, is_causal=True, enable_gqa=True)
    grouped = q.unflatten(1, (keys.shape[1], -1))[..., 0, :]
    shares = (grouped @ keys.mT / q.shape[-1] ** 0.5).softmax(-1)
    return (shares @ values).flatten(1, 2)[:, :, None]
