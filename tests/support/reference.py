"""An independent answer to what an MoE block computes: plain Python routing and a float64 loop over experts.

Imports nothing from workbench. The routing rule of each of the eleven families is written out by itself, after the paper or
the released code of that family, for one token at a time, with the experts that a plan switches off really absent and the
forced ones really first. Everything is computed in float64 from the model's own weights.
"""

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

Row = Sequence[float]
NONE: frozenset[int] = frozenset()


class Choice(NamedTuple):
    """One token's routing: expert -> weight, and the gap by which the selection was decided (0 is a tie)."""

    weights: dict[int, float]
    margin: float


class Token(NamedTuple):
    """What one token's routing starts from: logits (bias edits added), experts that are gone, experts that are forced."""

    logits: Row
    gone: Collection[int]
    forced: Collection[int]

    @property
    def live(self) -> list[int]:
        return [e for e in range(len(self.logits)) if e not in self.gone]


# ---- the pieces that papers share


def _softmax(token: Token) -> dict[int, float]:
    """Probabilities among the experts that exist."""
    top = max(token.logits[e] for e in token.live)
    exps = {e: math.exp(token.logits[e] - top) for e in token.live}
    total = math.fsum(exps.values())
    return {e: x / total for e, x in exps.items()}


def _sigmoid(token: Token) -> dict[int, float]:
    return {e: 1 / (1 + math.exp(-token.logits[e])) for e in token.live}


def _select(choice: dict[int, float], forced: Collection[int], k: int) -> tuple[list[int], float]:
    """The forced experts, then the best of the others; and the gap between the last one in and the first one out."""
    others = sorted((e for e in choice if e not in forced), key=lambda e: (-choice[e], e))
    room = k - len(forced)
    assert 0 <= room <= len(others), "an impossible plan reached the reference"
    gap = choice[others[room - 1]] - choice[others[room]] if 0 < room < len(others) else math.inf
    return [*forced, *others[:room]], gap


def _forced_scores(scores: dict[int, float], forced: Collection[int]) -> dict[int, float]:
    """A forced expert weighs as if its score were the token's highest."""
    return scores | dict.fromkeys(forced, max(scores.values()))


def _share(scores: dict[int, float], chosen: list[int]) -> dict[int, float]:
    total = math.fsum(scores[e] for e in chosen)
    return {e: scores[e] / total for e in chosen}


def _surviving_groups(
    choice: dict[int, float], n_experts: int, n_group: int, kept: int, score: Callable[[list[float]], float]
) -> tuple[dict[int, float], float]:
    """Experts of the `kept` best groups; and the gap between the last group in and the first one out."""
    size = n_experts // n_group
    scores = {g: score([choice[e] for e in range(g * size, (g + 1) * size) if e in choice]) for g in range(n_group)}
    ranked = sorted(scores, key=lambda g: (-scores[g], g))
    gap = scores[ranked[kept - 1]] - scores[ranked[kept]] if kept < n_group else math.inf
    return {e: x for e, x in choice.items() if e // size in ranked[:kept]}, gap


def _best_two(values: list[float]) -> float:
    return sum(sorted(values)[-2:]) if len(values) >= 2 else -math.inf


def _best(values: list[float]) -> float:
    return max(values, default=-math.inf)


# ---- the eleven families, each by its own published rule


def _mixtral(token: Token, k: int, config: Any, correction: Row | None) -> Choice:
    """Jiang et al. 2024: softmax over all experts, top-k, divided by their sum."""
    scores = _softmax(token)
    chosen, gap = _select(scores, token.forced, k)
    return Choice(_share(_forced_scores(scores, token.forced), chosen), gap)


def _olmoe(token: Token, k: int, config: Any, correction: Row | None) -> Choice:
    """Muennighoff et al. 2024: softmax probabilities as they are, unless norm_topk_prob."""
    scores = _softmax(token)
    chosen, gap = _select(scores, token.forced, k)
    scores = _forced_scores(scores, token.forced)
    return Choice(_share(scores, chosen) if config.norm_topk_prob else {e: scores[e] for e in chosen}, gap)


def _qwen2_moe(token: Token, k: int, config: Any, correction: Row | None) -> Choice:
    """Qwen1.5-MoE: softmax, top-k, not renormalised unless norm_topk_prob."""
    scores = _softmax(token)
    chosen, gap = _select(scores, token.forced, k)
    scores = _forced_scores(scores, token.forced)
    return Choice(_share(scores, chosen) if config.norm_topk_prob else {e: scores[e] for e in chosen}, gap)


def _qwen3_moe(token: Token, k: int, config: Any, correction: Row | None) -> Choice:
    """Qwen3 technical report: softmax, top-k, renormalised when norm_topk_prob (all released models)."""
    scores = _softmax(token)
    chosen, gap = _select(scores, token.forced, k)
    scores = _forced_scores(scores, token.forced)
    return Choice(_share(scores, chosen) if config.norm_topk_prob else {e: scores[e] for e in chosen}, gap)


def _top_logits_then_softmax(token: Token, k: int) -> Choice:
    logits = {e: token.logits[e] for e in token.live}
    chosen, gap = _select(logits, token.forced, k)
    top = max(logits.values())
    exps = {e: math.exp((top if e in token.forced else logits[e]) - top) for e in chosen}
    return Choice(_share(exps, chosen), gap)


def _gpt_oss(token: Token, k: int, config: Any, correction: Row | None) -> Choice:
    """OpenAI 2025: top-k of the (biased) logits, softmax over the chosen ones."""
    return _top_logits_then_softmax(token, k)


def _granitemoe(token: Token, k: int, config: Any, correction: Row | None) -> Choice:
    """IBM Granite 3: top-k of the logits, softmax over the chosen ones."""
    return _top_logits_then_softmax(token, k)


def _deepseek_v2(token: Token, k: int, config: Any, correction: Row | None) -> Choice:
    """DeepSeek-V2, 2.1.2: softmax; only the groups with the largest best expert; not renormalised; times a constant."""
    scores = _softmax(token)
    choice, group_gap = _surviving_groups(scores, len(token.logits), config.n_group, config.topk_group, _best)
    chosen, gap = _select(choice, token.forced, k)
    scores = _forced_scores(scores, token.forced)
    return Choice({e: scores[e] * config.routed_scaling_factor for e in chosen}, min(gap, group_gap))


def _deepseek_v3(token: Token, k: int, config: Any, correction: Row | None) -> Choice:
    """DeepSeek-V3, 2.1.2: sigmoid plus a bias for the choice, groups by their best two, renormalised, times a constant."""
    assert correction is not None
    scores = _sigmoid(token)
    biased = {e: s + correction[e] for e, s in scores.items()}
    choice, group_gap = _surviving_groups(biased, len(token.logits), config.n_group, config.topk_group, _best_two)
    chosen, gap = _select(choice, token.forced, k)
    scores = _forced_scores(scores, token.forced)
    weights = _share(scores, chosen) if config.norm_topk_prob else {e: scores[e] for e in chosen}
    return Choice({e: w * config.routed_scaling_factor for e, w in weights.items()}, min(gap, group_gap))


def _glm4_moe(token: Token, k: int, config: Any, correction: Row | None) -> Choice:
    """GLM-4.5: the choice and the weights of DeepSeek-V3."""
    return _deepseek_v3(token, k, config, correction)


def _ernie4_5_moe(token: Token, k: int, config: Any, correction: Row | None) -> Choice:
    """ERNIE 4.5: softmax, a bias for the choice, renormalised with a floor."""
    assert correction is not None
    scores = _softmax(token)
    chosen, gap = _select({e: s + correction[e] for e, s in scores.items()}, token.forced, k)
    scores = _forced_scores(scores, token.forced)
    total = max(math.fsum(scores[e] for e in chosen), config.moe_norm_min)
    return Choice({e: scores[e] / total for e in chosen}, gap)


def _minimax_m2(token: Token, k: int, config: Any, correction: Row | None) -> Choice:
    """MiniMax-M2: sigmoid, a bias for the choice, renormalised."""
    assert correction is not None
    scores = _sigmoid(token)
    chosen, gap = _select({e: s + correction[e] for e, s in scores.items()}, token.forced, k)
    return Choice(_share(_forced_scores(scores, token.forced), chosen), gap)


RULES: dict[str, Callable[[Token, int, Any, Row | None], Choice]] = {
    "mixtral": _mixtral,
    "olmoe": _olmoe,
    "qwen2_moe": _qwen2_moe,
    "qwen3_moe": _qwen3_moe,
    "gpt_oss": _gpt_oss,
    "deepseek_v2": _deepseek_v2,
    "deepseek_v3": _deepseek_v3,
    "granitemoe": _granitemoe,
    "glm4_moe": _glm4_moe,
    "ernie4_5_moe": _ernie4_5_moe,
    "minimax_m2": _minimax_m2,
}


# ---- where each family keeps its modules (by name, found by nobody's search)

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


# ---- what a block computes, in float64, one expert after the other


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


# ---- the seven edits


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


# ---- a model whose experts were really deleted


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
