"""An independent answer to what an MoE block computes: the routing of each token, and a float64 loop over experts.

Imports nothing from workbench. Everything is computed in float64 from the model's own weights; the routing rules are those of
`routing_rules.py`.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tests.support.routing_rules import NONE, RULES, Choice, Row, Token

_BLOCKS = {"granitemoe": "block_sparse_moe"}

_ROUTERS = {"gpt_oss": "router", "granitemoe": "router"}

_SHARED = {"qwen2_moe": "shared_expert"}

_CORRECTIONS = {
    "deepseek_v3": "gate.e_score_correction_bias",
    "glm4_moe": "gate.e_score_correction_bias",
    "ernie4_5_moe": "gate.moe_statics.e_score_correction_bias",
    "minimax_m2": "e_score_correction_bias",
}

_WITH_SHARED = ("qwen2_moe", "deepseek_v2", "deepseek_v3", "glm4_moe", "ernie4_5_moe")


def family_of(hf: Any) -> str:
    """The family's published name."""
    return hf.config.model_type


def block_of(hf: Any, layer: int) -> Any:
    """The MoE block of a decoder layer."""
    return getattr(hf.model.layers[layer], _BLOCKS.get(family_of(hf), "mlp"))


def router_of(hf: Any, layer: int) -> Any:
    """The router of a decoder layer."""
    return getattr(block_of(hf, layer), _ROUTERS.get(family_of(hf), "gate"))


def experts_of(hf: Any, layer: int) -> Any:
    """The fused experts of a decoder layer."""
    return block_of(hf, layer).experts


def shared_of(hf: Any, layer: int) -> Any:
    """The shared expert of a decoder layer, or None."""
    name = _SHARED.get(family_of(hf), "shared_experts") if family_of(hf) in _WITH_SHARED else None
    return getattr(block_of(hf, layer), name) if name else None


def correction_of(hf: Any, layer: int) -> list[float] | None:
    """The correction bias of a decoder layer as numbers, or None."""
    name = _CORRECTIONS.get(family_of(hf))
    if name is None:
        return None
    found = block_of(hf, layer)
    for part in name.split("."):
        found = getattr(found, part)
    return found.detach().double().reshape(-1).tolist()


def top_k_of(hf: Any) -> int:
    """Experts per token."""
    return hf.config.num_experts_per_tok


def router_logits(hf: Any, layer: int, hidden: Tensor) -> Tensor:
    """[tokens, experts] from the block's input [tokens, hidden]."""
    router = router_of(hf, layer)
    logits = hidden.double() @ router.weight.detach().double().T
    return logits + router.bias.detach().double() if family_of(hf) == "gpt_oss" else logits


def _swiglu(x: Tensor, gate: Tensor, up: Tensor, down: Tensor) -> Tensor:
    gated = x @ gate.T
    return (gated * gated.sigmoid() * (x @ up.T)) @ down.T


def _gpt_oss_expert(experts: Any, e: int, x: Tensor) -> Tensor:
    """Clamped, with (up + 1) and sigmoid(1.702 gate); gate and up interleaved; biases."""
    both = x @ experts.gate_up_proj[e].double() + experts.gate_up_proj_bias[e].double()
    gate, up = both[:, 0::2].clamp(max=experts.limit), both[:, 1::2].clamp(-experts.limit, experts.limit)
    inner = (up + 1) * gate * (gate * experts.alpha).sigmoid()
    return inner @ experts.down_proj[e].double() + experts.down_proj_bias[e].double()


@torch.no_grad()
def expert_outputs(hf: Any, layer: int, hidden: Tensor) -> Tensor:
    """Every expert's own output on every token, [tokens, experts, hidden]."""
    experts, x = experts_of(hf, layer), hidden.double()
    n = experts.down_proj.shape[0]
    if family_of(hf) == "gpt_oss":
        return torch.stack([_gpt_oss_expert(experts, e, x) for e in range(n)], 1)
    parts = [(*experts.gate_up_proj[e].double().chunk(2), experts.down_proj[e].double()) for e in range(n)]
    return torch.stack([_swiglu(x, *p) for p in parts], 1)


class Shared(NamedTuple):
    """The shared expert: its weight per token [tokens] and its own output [tokens, hidden]."""

    weight: Tensor
    output: Tensor


@torch.no_grad()
def shared_output(hf: Any, layer: int, hidden: Tensor) -> Shared | None:
    """What the shared expert says, before its gate."""
    shared, x = shared_of(hf, layer), hidden.double()
    if shared is None:
        return None
    parts = (shared.gate_proj, shared.up_proj, shared.down_proj)
    output = _swiglu(x, *(p.weight.double() for p in parts))
    if family_of(hf) == "qwen2_moe":
        gate = block_of(hf, layer).shared_expert_gate.weight.double()
        return Shared((x @ gate.T).sigmoid()[:, 0], output)
    return Shared(torch.ones(len(x), dtype=torch.float64), output)


@dataclass
class Edits:
    """What a plan does in one layer, to the tokens in `tokens` (None: all of them)."""

    bias: dict[int, float] = field(default_factory=dict)
    off: frozenset[int] = NONE
    force: frozenset[int] = NONE
    drop: frozenset[int] = NONE
    scale: dict[int, float] = field(default_factory=dict)
    replace: dict[int, Tensor] = field(default_factory=dict)
    mute: frozenset[int] = NONE
    shared_scale: float = 1.0
    shared_replace: Tensor | None = None
    tokens: Collection[int] | None = None


class Answer(NamedTuple):
    """What the layer should do. weights [tokens, experts], 0 where not selected; margins [tokens]; outputs [tokens, hidden]."""

    weights: Tensor
    selected: Tensor
    margins: Tensor
    routed: Tensor
    block: Tensor


def route_token(hf: Any, layer: int, logits: Row, edits: Edits = Edits()) -> Choice:  # noqa: B008
    """One token: bias, off, force, top-k, then drop and scale."""
    biased = [x + edits.bias.get(e, 0.0) for e, x in enumerate(logits)]
    rule = RULES[family_of(hf)]
    token = Token(biased, edits.off, edits.force)
    weights, margin = rule(token, top_k_of(hf), hf.config, correction_of(hf, layer))
    total = math.fsum(weights.values())
    if dropped := edits.drop & set(weights):
        left = math.fsum(w for e, w in weights.items() if e not in dropped)
        weights = {e: 0.0 if e in dropped or not left else w * total / left for e, w in weights.items()}
    return Choice({e: w * edits.scale.get(e, 1.0) for e, w in weights.items()}, margin)


@torch.no_grad()
def answer(hf: Any, layer: int, hidden: Tensor, edits: Edits | None = None, logits: Tensor | None = None) -> Answer:
    """What the block of `layer` should do with `hidden` [tokens, hidden] under `edits`.

    logits  the model's own router logits, to judge the rule alone; otherwise computed from the weights
    """
    edits, x = edits or Edits(), hidden.double()
    rows = (router_logits(hf, layer, x) if logits is None else logits.double()).tolist()
    weights = torch.zeros(len(rows), len(rows[0]), dtype=torch.float64)
    selected, margins = torch.zeros_like(weights, dtype=torch.bool), torch.zeros(len(rows), dtype=torch.float64)
    outputs = expert_outputs(hf, layer, x)
    for t, row in enumerate(rows):
        here = edits if edits.tokens is None or t in edits.tokens else Edits()
        choice = route_token(hf, layer, row, here)
        margins[t] = choice.margin
        for e, w in choice.weights.items():
            weights[t, e], selected[t, e] = w, True
        for e, vector in here.replace.items():
            outputs[t, e] = vector
        for e in here.mute:
            outputs[t, e] = 0
    routed = (weights[:, :, None] * outputs).sum(1)
    return Answer(weights, selected, margins, routed, routed + _shared_part(hf, layer, x, edits))


def _shared_part(hf: Any, layer: int, x: Tensor, edits: Edits) -> Tensor:
    shared = shared_output(hf, layer, x)
    if shared is None:
        return torch.zeros_like(x)
    output = shared.output if edits.shared_replace is None else edits.shared_replace.double().expand_as(x)
    output = output * edits.shared_scale
    if edits.tokens is not None:
        inside = torch.tensor([t in edits.tokens for t in range(len(x))])
        output = torch.where(inside[:, None], output, shared.output)
    return shared.weight[:, None] * output


@torch.no_grad()
def without_experts(hf: Any, gone: Collection[int]) -> Any:
    """A new, smaller model of the same class: the experts `gone` are cut out of every layer's weights.

    Families with groups cannot lose one expert; give them a single group first.
    """
    assert getattr(hf.config, "n_group", 1) in (None, 1), "a group cannot lose one expert"
    kept = [e for e in range(_n_experts(hf)) if e not in gone]
    config = hf.config.__class__.from_dict(hf.config.to_dict() | _expert_counts(hf, len(kept)))
    smaller = type(hf)(config).to(hf.dtype).eval()
    wanted = smaller.state_dict()
    state = {n: t if t.shape == wanted[n].shape else _cut(t, wanted[n], kept) for n, t in hf.state_dict().items()}
    smaller.load_state_dict(state)
    for (_, a), (_, b) in zip(smaller.named_buffers(), hf.named_buffers(), strict=True):
        if a.shape == b.shape:
            a.copy_(b)
        else:
            a.copy_(b[kept])
    return smaller


_COUNTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")


def _n_experts(hf: Any) -> int:
    return next(n for n in (getattr(hf.config, name, None) for name in _COUNTS) if n)


def _expert_counts(hf: Any, n: int) -> dict[str, int]:
    return {name: n for name in _COUNTS if name in hf.config.to_dict()}


def _cut(tensor: Tensor, wanted: Tensor, kept: list[int]) -> Tensor:
    axis = next(i for i, (a, b) in enumerate(zip(tensor.shape, wanted.shape, strict=True)) if a != b)
    return tensor.index_select(axis, torch.tensor(kept))
