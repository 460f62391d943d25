"""A layer's experts all at once, some of which may change: few large products, which a CPU does faster than many small ones."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear


class Carried(nn.Module):
    """In the place of a transformers experts module, whose weights stay as they are; `gate_up` and `down` are added to carriers'.

    gate_up [carriers, 2 size, hidden] and down [carriers, hidden, size] are float32 and begin at 0.
    """

    def __init__(self, frozen: Any, carriers: Sequence[int] = ()) -> None:
        super().__init__()
        n, hidden, size = frozen.down_proj.shape
        self.frozen, self.n, self.act_fn, self.carriers = frozen, n, frozen.act_fn, list(carriers)
        self.into, self.out = frozen.gate_up_proj.flatten(0, 1), frozen.down_proj.transpose(1, 2).flatten(0, 1)
        self.gate_up = nn.Parameter(torch.zeros(len(self.carriers), 2 * size, hidden))
        self.down = nn.Parameter(torch.zeros(len(self.carriers), hidden, size))

    def forward(self, x: Tensor, index: Tensor, weights: Tensor) -> Tensor:
        """X [tokens, hidden]; index and weights [tokens, k]."""
        shares = x.new_zeros(len(x), self.n).scatter(1, index, weights.to(x.dtype))
        both = linear(x, self.into).unflatten(-1, (self.n, -1))
        if self.carriers:
            more = linear(x, self.gate_up.to(x.dtype).flatten(0, 1)).unflatten(-1, (len(self.carriers), -1))
            both = both.index_add(1, torch.tensor(self.carriers), more)
        gate, up = both.chunk(2, -1)
        inner = self.act_fn(gate) * up * shares[..., None]
        out = inner.flatten(1) @ self.out
        if self.carriers:
            out = out + inner[:, self.carriers].flatten(1) @ self.down.to(x.dtype).transpose(1, 2).flatten(0, 1)
        return out
