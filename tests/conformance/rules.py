"""Every family's routing rule, one token at a time in plain Python, after its released code. Imports nothing from workbench.

The pieces (softmax over the experts that exist, forced experts first, groups) are those of `tests.support.reference`, where the
eleven first families have their rules written out; here is one line for each further family.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from tests.support.routing_rules import (
    RULES,
    Choice,
    Row,
    Token,
    best_two,
    forced_scores,
    select,
    share,
    sigmoid,
    softmax,
    surviving_groups,
    top_logits_then_softmax,
)

Rule = Callable[[Token, int, Any, Row | None], Choice]


class Kind(NamedTuple):
    """How a family scores, chooses and weighs. Names are fields of its config."""

    score: str
    renorm: bool | str = True
    bias: bool = False
    groups: str | None = None
    scale: float | str = 1.0
    bias_on_logits: bool = False


def _sqrtsoftplus(token: Token) -> dict[int, float]:
    return {e: math.sqrt(math.log1p(math.exp(token.logits[e]))) for e in token.live}


SCORES = {"softmax": softmax, "sigmoid": sigmoid, "sqrtsoftplus": _sqrtsoftplus}


def _value(config: Any, what: Any) -> Any:
    return getattr(config, what) if isinstance(what, str) else what


def _of_kind(kind: Kind) -> Rule:
    def rule(token: Token, k: int, config: Any, correction: Row | None) -> Choice:
        scores = SCORES[kind.score](token)
        choice, gap = dict(scores), math.inf
        if kind.bias:
            assert correction is not None
            start = {e: token.logits[e] for e in token.live} if kind.bias_on_logits else scores
            choice = {e: s + correction[e] for e, s in start.items()}
        if kind.groups and _value(config, kind.groups):
            n = _value(config, kind.groups)
            choice, gap = surviving_groups(choice, len(token.logits), n, config.topk_group, best_two)
        chosen, other = select(choice, token.forced, k)
        scores = forced_scores(scores, token.forced)
        weights = share(scores, chosen) if _value(config, kind.renorm) else {e: scores[e] for e in chosen}
        scale = _value(config, kind.scale)
        return Choice({e: w * scale for e, w in weights.items()}, min(gap, other))

    return rule


def _top_then_softmax(token: Token, k: int, config: Any, correction: Row | None) -> Choice:
    return top_logits_then_softmax(token, k)


def _sparsemixer(token: Token, k: int, config: Any, correction: Row | None) -> Choice:
    """Liu et al. 2024: the best expert, weighed among those near it; it leaves; the next likewise."""
    top = max(token.logits[e] for e in token.live)
    logits = {e: top if e in token.forced else token.logits[e] for e in token.live}
    left, weights, gap = dict(logits), {}, math.inf
    for _ in range(k):
        best = max(left.values())
        far = {e: (best - x) / max(abs(logits[e]), best) for e, x in left.items()}
        gap = min([gap, *(abs(f - 2 * config.router_jitter_noise) for f in far.values())])
        pick = next((e for e in token.forced if e in left), None)
        if pick is None:
            pick = max(left, key=lambda e: left[e])
            gap = min([gap, *(left[pick] - x for e, x in left.items() if e != pick)])
        near = [e for e in left if far[e] <= 2 * config.router_jitter_noise]
        weights[pick] = math.exp(left[pick] - best) / math.fsum(math.exp(left[e] - best) for e in near)
        del left[pick]
    return Choice(weights, gap)


def _cohere(token: Token, k: int, config: Any, correction: Row | None) -> Choice:
    assert config.expert_selection_fn == "softmax"
    return top_logits_then_softmax(token, k)


V3 = Kind("sigmoid", "norm_topk_prob", True, "n_group", "routed_scaling_factor")
SOFTMAX, MAYBE = Kind("softmax"), Kind("softmax", "norm_topk_prob")
BIASED = Kind("sigmoid", True, True)
LLAMA4 = Kind("sigmoid", False)
OCR = Kind("softmax", False, scale="routed_scaling_factor")
MISTRAL = Kind("softmax", "norm_topk_prob", False, "n_group", "routed_scaling_factor")
KIMI = Kind("sigmoid", "moe_renormalize", True, "num_expert_group", "routed_scaling_factor")
DEEPSEEK4 = Kind("sqrtsoftplus", True, True, None, "routed_scaling_factor")
ERNIE = Kind("softmax", True, True)

KINDS: dict[str, Kind] = {
    "afmoe": BIASED._replace(scale="route_scale"),
    "bailing_hybrid": KIMI,
    "beam": V3._replace(scale=1.0),
    "dbrx": SOFTMAX,
    "deepseek_ocr2": OCR,
    "deepseek_v4": DEEPSEEK4,
    "ernie4_5_vl_moe": ERNIE,
    "flex_olmo": MAYBE,
    "flint": Kind("sigmoid", "norm_topk_prob"),
    "gemma4_text": SOFTMAX,
    "gemma4": SOFTMAX,
    "hunyuan_v1_moe": SOFTMAX,
    "hy_v3": BIASED._replace(scale="router_scaling_factor"),
    "inkling2_text": BIASED._replace(scale="routed_scaling_factor"),
    "inkling2": BIASED._replace(scale="routed_scaling_factor"),
    "jamba": Kind("softmax", False),
    "kimi_linear": KIMI,
    "kolibri1": Kind("sigmoid", "norm_topk_prob", True, bias_on_logits=True),
    "laguna": BIASED,
    "lfm2_moe": Kind("sigmoid", "norm_topk_prob", True, None, "routed_scaling_factor"),
    "llama4_text": LLAMA4,
    "llama4": LLAMA4,
    "longcat_flash": Kind("softmax", False, True, None, "routed_scaling_factor"),
    "mellum": MAYBE,
    "minimax": SOFTMAX,
    "minimax_m3_vl_text": BIASED,
    "minimax_m3_vl": BIASED,
    "mistral4": MISTRAL,
    "mistral_large4": MISTRAL._replace(renorm=True),
    "muse_spark": BIASED._replace(scale="routed_scaling_factor"),
    "qwen3_5_moe_text": SOFTMAX,
    "qwen3_5_moe": SOFTMAX,
    "qwen3_next": MAYBE,
    "qwen3_omni_moe_thinker": MAYBE,
    "qwen3_vl_moe": SOFTMAX,
    "qwen4_exp_text": MAYBE,
    "qwen4_exp": MAYBE,
    "step3p7": BIASED,
    "unlimited_ocr": OCR,
    "zaya": Kind("softmax", False, True),
}
_LIKE_V3 = (
    "axk1 axk2 deepseek_v32 dots1 dots3_note_text dots3_note exaone_moe glm4_moe_lite glm4v_moe glm5_next glm_moe_dsa hy_v4 "
    "mimo_v2_flash nemotron_h solar_open"
)
KINDS |= dict.fromkeys(_LIKE_V3.split(), V3)

ALL_RULES: dict[str, Rule] = {
    **RULES,
    **{family: _of_kind(kind) for family, kind in KINDS.items()},
    **dict.fromkeys(("aria", "aria_text", "granitemoe_swa", "granitemoehybrid", "granitemoeshared"), _top_then_softmax),
    "jetmoe": _top_then_softmax,
    "cohere2_moe": _cohere,
    "phimoe": _sparsemixer,
}

_BY_PROBABILITY = {"mixtral", "olmoe", "qwen2_moe", "qwen3_moe", "deepseek_v2"} | {
    family for family, kind in KINDS.items() if kind.score == "softmax" and not kind.bias
}


def size(family: str, token: Token) -> float:
    """The largest score that the family compares: what a rounding is relative to. Other scores are about 1."""
    return max(softmax(token).values()) if family in _BY_PROBABILITY else 1.0


# where a family keeps its correction bias, seen from the block
CORRECTIONS = {
    "afmoe": "expert_bias",
    "ernie4_5_moe": "gate.moe_statics.e_score_correction_bias",
    "ernie4_5_vl_moe": "gate.moe_statics.e_score_correction_bias",
    "hy_v3": "e_score_correction_bias",
    "lfm2_moe": "expert_bias",
    "longcat_flash": "router.e_score_correction_bias",
    "minimax_m2": "e_score_correction_bias",
    "zaya": "gate.balancing_biases",
}
