"""The routing rule: from router logits to a selection and weights, fitted numerically, and re-applied under edits.

One rule covers softmax and sigmoid routers, correction biases, groups, renormalisation and scaling (`RoutingRule`). It is
fitted at load against what the model's own router returns; a router that no candidate reproduces keeps its recording and
its weight edits, and is refused `off`, `force` and `bias` with the reason.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor

from workbench.anatomy import RoutingRule

_MINUS_INF = float("-inf")
TIE_MARGIN = 1e-5  # below this gap between the k-th and the next selection score, either selection is right (fp32)


class RouterEdits(NamedTuple):
    """What to change in one layer's routing, each [1 or tokens, experts]; made by `router_edits`.

    `shift` is added to the logits: the bias, and minus infinity where an expert is off. `off` and `force` are bool.
    """

    shift: Tensor | None = None
    off: Tensor | None = None
    force: Tensor | None = None


def router_edits(bias: Tensor | None = None, off: Tensor | None = None, force: Tensor | None = None) -> RouterEdits:
    """The three edits of the routing, in their order: bias (float32), then off, then force (bool masks)."""
    if off is None:
        return RouterEdits(bias, None, force)
    start = torch.zeros(off.shape, device=off.device) if bias is None else bias
    return RouterEdits(start.masked_fill(off, _MINUS_INF), off, force)


class Routing(NamedTuple):
    """A selection: weights [tokens, k] (float32) and index [tokens, k] (int64), best choice first."""

    weights: Tensor
    index: Tensor  # pyright: ignore[reportIncompatibleMethodOverride]


NO_EDITS = RouterEdits()


def route(
    rule: RoutingRule, logits: Tensor, top_k: int, correction: Tensor | None = None, edits: RouterEdits = NO_EDITS
) -> Routing:
    """The rule applied to router logits [tokens, experts], in float32, under edits in the order bias, off, force.

    off    the logit is minus infinity before scoring, and the expert is out of the selection (a correction bias cannot
           bring it back)
    force  first in the selection after group masking, never by adding a constant (in bf16, M + 0.01 = M at M = -7), and
           weighted as if its score were the token's highest
    """
    logits = logits.float() if edits.shift is None else logits.float() + edits.shift
    corrected = rule.correction_bias and correction is not None
    if rule.score == "softmax" and rule.n_group == 1 and not corrected:
        return _softmax_top_k(rule, logits, top_k, edits.force)
    scores = logits.softmax(-1) if rule.score == "softmax" else logits.sigmoid()
    choice = scores + correction if corrected and correction is not None else scores
    if edits.off is not None:
        choice = choice.masked_fill(edits.off, _MINUS_INF)
    if rule.n_group > 1:
        choice = choice.masked_fill(~_group_mask(rule, choice), _MINUS_INF)
    if edits.force is not None:
        choice = choice.masked_fill(edits.force, float("inf"))
        scores = torch.where(edits.force, scores.amax(-1, keepdim=True), scores)
    if choice is scores:
        weights, index = scores.topk(top_k, dim=-1)
    else:
        index = choice.topk(top_k, dim=-1).indices
        weights = scores.gather(-1, index)
    if rule.renormalise:
        weights = weights / (weights.sum(-1, keepdim=True) + 1e-20)
    return Routing(weights * rule.scaling if rule.scaling != 1 else weights, index)


def _softmax_top_k(rule: RoutingRule, logits: Tensor, top_k: int, force: Tensor | None) -> Routing:
    """The same with fewer operations: softmax is monotone, and renormalised over the selected it is theirs alone."""
    if force is None:
        best, index = logits.topk(top_k, dim=-1)
    else:
        index = logits.masked_fill(force, float("inf")).topk(top_k, dim=-1).indices
        best = torch.where(force, logits.amax(-1, keepdim=True), logits).gather(-1, index)
    weights = best.softmax(-1) if rule.renormalise else (best - logits.logsumexp(-1, keepdim=True)).exp()
    return Routing(weights * rule.scaling if rule.scaling != 1 else weights, index)


def _group_mask(rule: RoutingRule, choice: Tensor) -> Tensor:
    """Experts whose group survives, [tokens, experts] bool. A group with too few live experts scores minus infinity."""
    grouped = choice.view(choice.shape[0], rule.n_group, -1)
    score = grouped.amax(-1) if rule.group_score == "max" else grouped.topk(2, dim=-1).values.sum(-1)
    kept = torch.zeros_like(score, dtype=torch.bool).scatter_(1, score.topk(rule.topk_group, dim=-1).indices, True)
    return kept.unsqueeze(-1).expand_as(grouped).reshape(choice.shape)


def dense(routing: Routing, n_experts: int) -> Tensor:
    """Weights by expert, [tokens, experts], 0 where not selected: slots come in any order, so compare by expert."""
    out = torch.zeros(routing.index.shape[0], n_experts, dtype=torch.float32, device=routing.index.device)
    return out.scatter_(1, routing.index, routing.weights.float())


class Fit(NamedTuple):
    """The rule that reproduces a router, and which correction bias it uses; `rule` None with the reason otherwise."""

    rule: RoutingRule | None
    correction: str | None
    reason: str = ""


def fit_rule(
    logits: Tensor,
    observed: Routing,
    corrections: dict[str, Tensor],
    groups: tuple[int, int] = (1, 1),
    tolerance: float = 1e-4,
) -> Fit:
    """The first candidate rule that gives the model's own selection and weights on these tokens.

    logits       [tokens, experts] as the router returned them; observed: its selection
    corrections  1-D [experts] tensors found in or beside the router, by name
    groups       (n_group, topk_group) as the config states them
    tolerance    largest relative difference of weights (1e-4 in fp32; a few bf16 steps otherwise)
    """
    top_k, closest = observed.index.shape[1], (float("inf"), "")
    for rule, name in _candidates(corrections, groups):
        unscaled = route(rule, logits, top_k, corrections.get(name or ""))
        scaling = _scaling(unscaled, observed)
        if not scaling > 0:
            continue  # weights of zero, or none at all: any rule would "fit"
        rule = replace(rule, scaling=scaling)
        error = mismatch(rule, logits, observed, corrections.get(name or ""))
        if error <= tolerance:
            return Fit(rule, name)
        closest = min(closest, (error, str(rule)))
    return Fit(
        None, None, f"no known routing rule reproduces the router (closest: {closest[1]}, off by {closest[0]:.2g})"
    )


def _candidates(corrections: dict[str, Tensor], groups: tuple[int, int]) -> Iterator[tuple[RoutingRule, str | None]]:
    """With a correction bias first: one that is all zero changes nothing today, and would if it were trained."""
    names: list[str | None] = [*corrections, None]
    layouts = [(1, 1, "max")]
    if groups[0] > 1:
        layouts = [(*groups, "top2"), (*groups, "max"), *layouts]
    scores = ("softmax", "sigmoid")
    for name, (n, kept, by), score, renormalise in product(names, layouts, scores, (True, False)):
        yield RoutingRule(score, renormalise, name is not None, n, kept, by), name  # pyright: ignore[reportArgumentType]


def _scaling(unscaled: Routing, observed: Routing) -> float:
    """The constant between our weights and the model's: the median ratio of the tokens' sums, as exact as their dtype.

    Six digits where weights are float32 (routed_scaling_factor 2.827 of Kimi-K2 is no 2.83), three in half precision.
    """
    ratio = (observed.weights.float().sum(-1) / unscaled.weights.sum(-1)).median().item()
    digits = 6 if observed.weights.dtype in (torch.float32, torch.float64) else 3
    return 1.0 if abs(ratio - 1) < 1e-2 else float(f"{ratio:.{digits}g}")


def mismatch(rule: RoutingRule, logits: Tensor, observed: Routing, correction: Tensor | None) -> float:
    """Largest difference between the rule's and the model's weights by expert, relative to the token's largest weight.

    Tokens whose k-th choice is a tie are left out: there either selection is right. Infinite when the sets differ.
    """
    ours = route(rule, logits, observed.index.shape[1], correction)
    clear = margin(rule, logits, observed.index.shape[1], correction) > TIE_MARGIN
    same = (ours.index.sort(-1).values == observed.index.sort(-1).values).all(-1)
    if not clear.any() or not same[clear].all():  # a wrong expert may weigh next to nothing, and is wrong nevertheless
        return float("inf")
    a, b = dense(ours, logits.shape[-1])[clear], dense(observed, logits.shape[-1])[clear]
    largest = b.amax(-1, keepdim=True).clamp_min(1e-12)
    return ((a - b).abs() / largest).max().item()


def margin(rule: RoutingRule, logits: Tensor, top_k: int, correction: Tensor | None) -> Tensor:
    """Gap between the k-th and the next selection score, [tokens]; the smaller of it and the gap between groups."""
    logits = logits.float()
    scores = logits.softmax(-1) if rule.score == "softmax" else logits.sigmoid()
    choice = scores + correction if rule.correction_bias and correction is not None else scores
    gap = torch.full(choice.shape[:1], float("inf"), device=choice.device)
    if rule.n_group > 1:
        grouped = choice.view(choice.shape[0], rule.n_group, -1)
        score = grouped.amax(-1) if rule.group_score == "max" else grouped.topk(2, dim=-1).values.sum(-1)
        if rule.topk_group < rule.n_group:
            best = score.topk(rule.topk_group + 1, dim=-1).values
            gap = best[:, -2] - best[:, -1]
        choice = choice.masked_fill(~_group_mask(rule, choice), _MINUS_INF)
    if top_k < choice.shape[-1]:
        best = choice.topk(top_k + 1, dim=-1).values
        gap = torch.minimum(gap, best[:, -2] - best[:, -1])
    return gap
