"""The dense model with its MLPs routed in groups, and what is trained of it; one switch makes it the dense model again.

So teacher and student are one set of frozen weights. Neurons stay where they are in memory but for their order.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from ..fitting import Fitted
from ..groups import Groups, Router

ATTENTION, MLP = ("q_proj", "k_proj", "v_proj", "o_proj"), ("gate_proj", "up_proj", "down_proj")
_LAYER_NORMS = ("input_layernorm", "post_attention_layernorm")


@dataclass
class Switch:
    """Which model the modules are: the dense one, or the student with `k` routed experts of a token.

    chosen  collects, when it is a list, the share of tokens that each layer's experts get
    """

    dense: bool = False
    k: int = 1
    chosen: list[Tensor] | None = None


class LowRank(nn.Module):
    """A frozen projection, and what the student adds to it: x -> W x + b (a x)."""

    def __init__(self, frozen: nn.Linear, rank: int, switch: Switch, drawing: torch.Generator) -> None:
        super().__init__()
        n_out, n_in = frozen.weight.shape
        self.frozen, self.switch = frozen, switch
        self.a = nn.Parameter(torch.randn(rank, n_in, generator=drawing) / n_in**0.5)
        self.b = nn.Parameter(torch.zeros(n_out, rank))

    @property
    def weight(self) -> Tensor:
        """Of the frozen projection."""
        return self.frozen.weight

    def forward(self, x: Tensor) -> Tensor:
        """X [..., in] to [..., out]."""
        out = self.frozen(x)
        return out if self.switch.dense else out + linear(linear(x, self.a.to(x.dtype)), self.b.to(x.dtype))


class Whole(nn.Module):
    """A frozen projection, and a change of all its weights: x -> (W + d) x. Too large to be handed on; what low rank costs."""

    def __init__(self, frozen: nn.Linear, switch: Switch) -> None:
        super().__init__()
        self.frozen, self.switch, self.d = (
            frozen,
            switch,
            nn.Parameter(torch.zeros_like(frozen.weight, dtype=torch.float32)),
        )

    @property
    def weight(self) -> Tensor:
        """Of the frozen projection."""
        return self.frozen.weight

    def forward(self, x: Tensor) -> Tensor:
        """X [..., in] to [..., out]."""
        if self.switch.dense:
            return self.frozen(x)
        return linear(x, self.frozen.weight + self.d.to(x.dtype), self.frozen.bias)


class Scaled(nn.Module):
    """A frozen norm, times what the student makes of it: (1 + d) norm(x)."""

    def __init__(self, frozen: nn.Module, width: int, switch: Switch) -> None:
        super().__init__()
        self.frozen, self.switch, self.d = frozen, switch, nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """X [..., width]."""
        out = self.frozen(x)
        return out if self.switch.dense else out * (1 + self.d).to(out.dtype)


class Routed(nn.Module):
    """An MLP whose neurons lie in groups: those of the chosen experts weigh 2 sigmoid(score), the shared ones 1, the others 0."""

    def __init__(self, mlp: Any, groups: Groups, router: Router, switch: Switch) -> None:
        super().__init__()
        self.gate_proj, self.up_proj, self.down_proj, self.act_fn = (
            mlp.gate_proj,
            mlp.up_proj,
            mlp.down_proj,
            mlp.act_fn,
        )
        self.switch, size = switch, groups.routed.shape[1]
        self.shared = len(groups.shared) // size
        self.router = nn.Parameter(router.weight.float().clone())
        self.bias: Tensor
        self.register_buffer("bias", router.bias.float().clone())
        self._reorder(torch.cat([groups.routed.reshape(-1), groups.shared]))

    @torch.no_grad()
    def _reorder(self, order: Tensor) -> None:
        for projection in (self.gate_proj, self.up_proj):
            projection.weight.copy_(projection.weight[order].clone())
            if projection.bias is not None:
                projection.bias.copy_(projection.bias[order].clone())
        self.down_proj.weight.copy_(self.down_proj.weight[:, order].clone())

    def forward(self, x: Tensor) -> Tensor:
        """X [..., hidden]."""
        neurons = self.act_fn(self.gate_proj(x)) * self.up_proj(x)
        if not self.switch.dense:
            weights = self.weights(x).to(neurons.dtype)
            neurons = (neurons.unflatten(-1, (weights.shape[-1], -1)) * weights[..., None]).flatten(-2)
        return self.down_proj(neurons)

    def weights(self, x: Tensor) -> Tensor:
        """Of every group [..., experts + shared], in float32."""
        score = linear(x.float(), self.router)
        chosen = (score.detach().sigmoid() + self.bias).topk(self.switch.k, -1).indices
        mask = torch.zeros_like(score).scatter_(-1, chosen, 1.0)
        if self.switch.chosen is not None:
            self.switch.chosen.append(mask.flatten(0, -2).mean(0))
        return torch.cat([2 * score.sigmoid() * mask, score.new_ones(*score.shape[:-1], self.shared)], -1)


@dataclass
class Student:
    """The model in both roles; `parts` is what is trained, by the names that additions have."""

    model: Any
    switch: Switch
    shared: int
    parts: dict[str, nn.Parameter] = field(default_factory=dict[str, nn.Parameter])

    @property
    def routed(self) -> list[Routed]:
        """The MLP of every layer."""
        return [block.mlp for block in self.model.model.layers]

    @property
    def head(self) -> Tensor:
        """[vocabulary, hidden]."""
        return self.model.get_output_embeddings().weight

    def hidden(self, rows: Tensor, k: int | None = None) -> Tensor:
        """What the head reads [rows, length, hidden]: of the dense model, or with k of the student."""
        self.switch.dense, self.switch.k = k is None, k or 1
        return self.model.model(rows, use_cache=False).last_hidden_state


def student_of(dense: Any, found: Fitted, rank: int | None, *, seed: int = 0) -> Student:
    """A student made in place of the dense model, whose weights it freezes and whose neurons it puts in order.

    rank  of the updates to every projection of attention and MLP; 0 trains routers and norms alone, None all weights
    """
    dense.requires_grad_(False)
    drawing, switch = torch.Generator().manual_seed(seed), Switch()
    made = Student(dense, switch, 0)
    width = dense.config.hidden_size
    for i, (block, groups, router) in enumerate(zip(dense.model.layers, found.groups, found.routers, strict=True)):
        block.mlp = Routed(block.mlp, groups, router, switch)
        made.shared = block.mlp.shared
        made.parts[f"layers.{i}.router.weight"] = block.mlp.router
        for at, module, names in (("self_attn", block.self_attn, ATTENTION), ("mlp", block.mlp, MLP)):
            for name in names if rank != 0 else ():
                frozen = getattr(module, name)
                updated = Whole(frozen, switch) if rank is None else LowRank(frozen, rank, switch, drawing)
                setattr(module, name, updated)
                own = dict(updated.named_parameters(recurse=False))
                made.parts |= {f"layers.{i}.{at}.{name}.{end}": part for end, part in own.items()}
        for name in _LAYER_NORMS:
            made.parts[f"layers.{i}.{name}.d"] = _scale(block, name, width, switch)
    made.parts["norm.d"] = _scale(dense.model, "norm", width, switch)
    return made


def _scale(module: Any, name: str, width: int, switch: Switch) -> nn.Parameter:
    scaled = Scaled(getattr(module, name), width, switch)
    setattr(module, name, scaled)
    return scaled.d
