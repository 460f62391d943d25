"""Which routing rule a router follows, recognised from its own answers.

Fitted when a model is loaded, against what its router returned; a router that no candidate reproduces keeps its recording and
its weight edits, and is refused `off`, `force` and `bias` with the reason.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor

from workbench.anatomy import RoutingRule
from workbench.routing.rule import NO_EDITS, Routing, dense, margin, route

# routers that score in half precision decide near ties by its rounding of scores between 0 and 1
HALF_TIE = {torch.bfloat16: 2**-7, torch.float16: 2**-10}
TIE_MARGIN = 1e-5  # below this gap between the k-th and the next selection score, either selection is right (fp32)


class Fit(NamedTuple):
    """The rule that reproduces a router, and by name the correction bias and the scale per expert that it uses.

    `rule` is None, with the reason, when no candidate does.
    """

    rule: RoutingRule | None
    correction: str | None
    reason: str = ""
    expert_scale: str | None = None


def fit_rule(
    logits: Tensor,
    observed: Routing,
    corrections: dict[str, Tensor],
    groups: tuple[int, int] = (1, 1),
    tolerance: float = 1e-4,
    *,
    skip: bool = False,
    jitter: float | None = None,
) -> Fit:
    """The first candidate rule that gives the model's own selection and weights on these tokens.

    logits       [tokens, experts] as the router returned them; observed: its selection
    corrections  1-D [experts] tensors found in or beside the router, by name
    groups       (n_group, topk_group) as the config states them
    tolerance    largest relative difference of weights (1e-4 in fp32; a few bf16 steps otherwise)
    skip         the last class of the logits is no expert
    jitter       the sparsemixer's tolerance, where the config states one
    """
    strict = _first_fit(logits, observed, corrections, _candidates(corrections, groups, jitter), tolerance, skip)
    loose = HALF_TIE.get(observed.weights.dtype)
    if strict.rule is not None or loose is None:
        return strict
    again = _candidates(corrections, groups, jitter)
    found = _first_fit(logits, observed, corrections, again, tolerance, skip, loose)
    return found if found.rule is not None else strict


def _first_fit(
    logits: Tensor,
    observed: Routing,
    corrections: dict[str, Tensor],
    candidates: "Iterator[_Candidate]",
    tolerance: float,
    skip: bool,
    tie: float = TIE_MARGIN,
) -> Fit:
    top_k, closest = observed.index.shape[1], (float("inf"), "")
    for rule, name, scale_name in candidates:
        rule = replace(rule, skip=skip)
        correction, scale = corrections.get(name or ""), corrections.get(scale_name or "")
        scaling = _scaling(route(rule, logits, top_k, correction, NO_EDITS, scale), observed)
        if not scaling > 0:
            continue  # weights of zero, or none at all: any rule would "fit"
        rule = replace(rule, scaling=scaling)
        error = mismatch(rule, logits, observed, correction, scale, tie)
        if error <= tolerance:
            return Fit(rule, name, expert_scale=scale_name)
        closest = min(closest, (error, str(rule)))
    found = f" (closest: {closest[1]}, off by {closest[0]:.2g})" if closest[1] else ""
    return Fit(None, None, f"no known routing rule reproduces the router{found}")


_Candidate = tuple[RoutingRule, str | None, str | None]


def _candidates(corrections: dict[str, Tensor], groups: tuple[int, int], jitter: float | None) -> Iterator[_Candidate]:
    """With a correction bias first: one that is all zero changes nothing today, and would if it were trained."""
    names: list[str | None] = [*corrections, None]
    layouts = [(1, 1, "max")]
    if groups[0] > 1:
        layouts = [(*groups, "top2"), (*groups, "max"), *layouts]
    scores = ("softmax", "sigmoid", "sqrtsoftplus")
    for name, (n, kept, by), score, renormalise in product(names, layouts, scores, (True, False)):
        rule = RoutingRule(score, renormalise, name is not None, n, kept, by)  # pyright: ignore[reportArgumentType]
        yield rule, name, None
        if name is not None:
            yield replace(rule, bias_on="logit"), name, None
    if jitter is not None:
        yield RoutingRule("sparsemixer", False, jitter=jitter), None, None
    for name, score, renormalise in product(corrections, scores, (True, False)):
        yield RoutingRule(score, renormalise, expert_scale=True), None, name  # pyright: ignore[reportArgumentType]


def _scaling(unscaled: Routing, observed: Routing) -> float:
    """The constant between our weights and the model's: the median ratio of the tokens' sums, as exact as their dtype.

    Six digits where weights are float32 (routed_scaling_factor 2.827 of Kimi-K2 is no 2.83), three in half precision.
    """
    ratio = (observed.weights.float().sum(-1) / unscaled.weights.sum(-1)).nanmedian().item()  # skipped tokens: 0 / 0
    digits = 6 if observed.weights.dtype in (torch.float32, torch.float64) else 3
    return 1.0 if abs(ratio - 1) < 1e-2 else float(f"{ratio:.{digits}g}")


def mismatch(
    rule: RoutingRule,
    logits: Tensor,
    observed: Routing,
    correction: Tensor | None,
    expert_scale: Tensor | None = None,
    tie: float = TIE_MARGIN,
) -> float:
    """Largest difference between the rule's and the model's weights by expert, relative to the token's largest weight.

    Tokens whose k-th choice is a tie are left out: there either selection is right. Infinite when the sets differ.
    """
    ours = route(rule, logits, observed.index.shape[1], correction, NO_EDITS, expert_scale)
    clear = margin(rule, logits, observed.index.shape[1], correction) > tie
    same = (ours.index.sort(-1).values == observed.index.sort(-1).values).all(-1)
    if not clear.any() or not same[clear].all():  # a wrong expert may weigh next to nothing, and is wrong nevertheless
        return float("inf")
    a, b = dense(ours, logits.shape[-1])[clear], dense(observed, logits.shape[-1])[clear]
    largest = b.amax(-1, keepdim=True).clamp_min(1e-12)
    return ((a - b).abs() / largest).max().item()
