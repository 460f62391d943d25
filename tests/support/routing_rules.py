"""The routing rule of each of eleven families, for one token at a time, in plain Python.

Imports nothing from workbench. Each rule is written out by itself, after the paper or the released code of its family, with the
experts that a plan switches off really absent and the forced ones really first.
"""

import math
from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

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


def softmax(token: Token) -> dict[int, float]:
    """Probabilities among the experts that exist."""
    top = max(token.logits[e] for e in token.live)
    exps = {e: math.exp(token.logits[e] - top) for e in token.live}
    total = math.fsum(exps.values())
    return {e: x / total for e, x in exps.items()}


def sigmoid(token: Token) -> dict[int, float]:
    return {e: 1 / (1 + math.exp(-token.logits[e])) for e in token.live}


def select(choice: dict[int, float], forced: Collection[int], k: int) -> tuple[list[int], float]:
    """The forced experts, then the best of the others; and the gap between the last one in and the first one out."""
    others = sorted((e for e in choice if e not in forced), key=lambda e: (-choice[e], e))
    room = k - len(forced)
    assert 0 <= room <= len(others), "an impossible plan reached the reference"
    gap = choice[others[room - 1]] - choice[others[room]] if 0 < room < len(others) else math.inf
    return [*forced, *others[:room]], gap


def forced_scores(scores: dict[int, float], forced: Collection[int]) -> dict[int, float]:
    """A forced expert weighs as if its score were the token's highest."""
    return scores | dict.fromkeys(forced, max(scores.values()))


def share(scores: dict[int, float], chosen: list[int]) -> dict[int, float]:
    total = math.fsum(scores[e] for e in chosen)
    return {e: scores[e] / total for e in chosen}


def surviving_groups(
    choice: dict[int, float], n_experts: int, n_group: int, kept: int, score: Callable[[list[float]], float]
) -> tuple[dict[int, float], float]:
    """Experts of the `kept` best groups; and the gap between the last group in and the first one out."""
    size = n_experts // n_group
    scores = {g: score([choice[e] for e in range(g * size, (g + 1) * size) if e in choice]) for g in range(n_group)}
    ranked = sorted(scores, key=lambda g: (-scores[g], g))
    gap = scores[ranked[kept - 1]] - scores[ranked[kept]] if kept < n_group else math.inf
    return {e: x for e, x in choice.items() if e // size in ranked[:kept]}, gap


def best_two(values: list[float]) -> float:
    return sum(sorted(values)[-2:]) if len(values) >= 2 else -math.inf


def best(values: list[float]) -> float:
    return max(values, default=-math.inf)


def _mixtral(token: Token, k: int, config: Any, correction: Row | None) -> Choice:
    """Jiang et al. 2024: softmax over all experts, top-k, divided by their sum."""
    scores = softmax(token)
    chosen, gap = select(scores, token.forced, k)
    return Choice(share(forced_scores(scores, token.forced), chosen), gap)


def _olmoe(token: Token, k: int, config: Any, correction: Row | None) -> Choice:
    """Muennighoff et al. 2024: softmax probabilities as they are, unless norm_topk_prob."""
    scores = softmax(token)
    chosen, gap = select(scores, token.forced, k)
    scores = forced_scores(scores, token.forced)
    return Choice(share(scores, chosen) if config.norm_topk_prob else {e: scores[e] for e in chosen}, gap)


def _qwen2_moe(token: Token, k: int, config: Any, correction: Row | None) -> Choice:
    """Qwen1.5-MoE: softmax, top-k, not renormalised unless norm_topk_prob."""
    scores = softmax(token)
    chosen, gap = select(scores, token.forced, k)
    scores = forced_scores(scores, token.forced)
    return Choice(share(scores, chosen) if config.norm_topk_prob else {e: scores[e] for e in chosen}, gap)


def _qwen3_moe(token: Token, k: int, config: Any, correction: Row | None) -> Choice:
    """Qwen3 technical report: softmax, top-k, renormalised when norm_topk_prob (all released models)."""
    scores = softmax(token)
    chosen, gap = select(scores, token.forced, k)
    scores = forced_scores(scores, token.forced)
    return Choice(share(scores, chosen) if config.norm_topk_prob else {e: scores[e] for e in chosen}, gap)


def top_logits_then_softmax(token: Token, k: int) -> Choice:
    logits = {e: token.logits[e] for e in token.live}
    chosen, gap = select(logits, token.forced, k)
    top = max(logits.values())
    exps = {e: math.exp((top if e in token.forced else logits[e]) - top) for e in chosen}
    return Choice(share(exps, chosen), gap)


def _gpt_oss(token: Token, k: int, config: Any, correction: Row | None) -> Choice:
    """OpenAI 2025: top-k of the (biased) logits, softmax over the chosen ones."""
    return top_logits_then_softmax(token, k)


def _granitemoe(token: Token, k: int, config: Any, correction: Row | None) -> Choice:
    """IBM Granite 3: top-k of the logits, softmax over the chosen ones."""
    return top_logits_then_softmax(token, k)


def _deepseek_v2(token: Token, k: int, config: Any, correction: Row | None) -> Choice:
    """DeepSeek-V2, 2.1.2: softmax; only the groups with the largest best expert; not renormalised; times a constant."""
    scores = softmax(token)
    choice, group_gap = surviving_groups(scores, len(token.logits), config.n_group, config.topk_group, best)
    chosen, gap = select(choice, token.forced, k)
    scores = forced_scores(scores, token.forced)
    return Choice({e: scores[e] * config.routed_scaling_factor for e in chosen}, min(gap, group_gap))


def _deepseek_v3(token: Token, k: int, config: Any, correction: Row | None) -> Choice:
    """DeepSeek-V3, 2.1.2: sigmoid plus a bias for the choice, groups by their best two, renormalised, times a constant."""
    assert correction is not None
    scores = sigmoid(token)
    biased = {e: s + correction[e] for e, s in scores.items()}
    choice, group_gap = surviving_groups(biased, len(token.logits), config.n_group, config.topk_group, best_two)
    chosen, gap = select(choice, token.forced, k)
    scores = forced_scores(scores, token.forced)
    weights = share(scores, chosen) if config.norm_topk_prob else {e: scores[e] for e in chosen}
    return Choice({e: w * config.routed_scaling_factor for e, w in weights.items()}, min(gap, group_gap))


def _glm4_moe(token: Token, k: int, config: Any, correction: Row | None) -> Choice:
    """GLM-4.5: the choice and the weights of DeepSeek-V3."""
    return _deepseek_v3(token, k, config, correction)


def _ernie4_5_moe(token: Token, k: int, config: Any, correction: Row | None) -> Choice:
    """ERNIE 4.5: softmax, a bias for the choice, renormalised with a floor."""
    assert correction is not None
    scores = softmax(token)
    chosen, gap = select({e: s + correction[e] for e, s in scores.items()}, token.forced, k)
    scores = forced_scores(scores, token.forced)
    total = max(math.fsum(scores[e] for e in chosen), config.moe_norm_min)
    return Choice({e: scores[e] / total for e in chosen}, gap)


def _minimax_m2(token: Token, k: int, config: Any, correction: Row | None) -> Choice:
    """MiniMax-M2: sigmoid, a bias for the choice, renormalised."""
    assert correction is not None
    scores = sigmoid(token)
    chosen, gap = select({e: s + correction[e] for e, s in scores.items()}, token.forced, k)
    return Choice(share(forced_scores(scores, token.forced), chosen), gap)


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
