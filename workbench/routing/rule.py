"""The routing rule: from router logits to a selection and weights, with or without edits, by `route`.

One rule covers softmax and sigmoid routers, correction biases, groups (DeepSeek's), renormalisation and scaling
(`RoutingRule`); which one a router follows is found in fit.py.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from workbench.anatomy import RoutingRule

_MINUS_INF = float("-inf")
_COMMON = RoutingRule("softmax", True)


class RouterEdits(NamedTuple):
    """What to change in one layer's routing, each [1 or tokens, experts]; made by `router_edits`.

    `shift` is added to the logits: the bias, and minus infinity where an expert is off. `off` and `force` are bool.
    """

    shift: Tensor | None = None
    off: Tensor | None = None
    force: Tensor | None = None
    bias: Tensor | None = None

    @property
    def only_off(self) -> bool:
        """Whether experts are taken away and nothing else is done."""
        return self.off is not None and self.force is None and self.bias is None

    def rows(self, which: Tensor) -> "RouterEdits":
        """The edits of some tokens, by their numbers."""
        return RouterEdits(*(t if t is None or t.shape[0] == 1 else t.index_select(0, which) for t in self))


def router_edits(bias: Tensor | None = None, off: Tensor | None = None, force: Tensor | None = None) -> RouterEdits:
    """The three edits of the routing, in their order: bias (float32), then off, then force (bool masks)."""
    if off is None:
        return RouterEdits(bias, None, force, bias)
    start = torch.zeros(off.shape, device=off.device) if bias is None else bias
    return RouterEdits(start.masked_fill(off, _MINUS_INF), off, force, bias)


def taken(mask: Tensor, index: Tensor) -> Tensor:
    """A mask (or values) by expert, [1 or tokens, experts], read at the selected experts: [tokens, k]."""
    return mask.take(index) if mask.shape[0] == 1 else mask.gather(1, index)


class Routing(NamedTuple):
    """A selection: weights [tokens, k] (float32) and index [tokens, k] (int64), best choice first."""

    weights: Tensor
    index: Tensor  # pyright: ignore[reportIncompatibleMethodOverride]


NO_EDITS = RouterEdits()


def route(
    rule: RoutingRule,
    logits: Tensor,
    top_k: int,
    correction: Tensor | None = None,
    edits: RouterEdits = NO_EDITS,
    expert_scale: Tensor | None = None,
) -> Routing:
    """The rule applied to router logits [tokens, experts], in float32, under edits in the order bias, off, force.

    off    the logit is minus infinity before scoring, and the expert is out of the selection (a correction bias cannot
           bring it back)
    force  first in the selection after group masking, never by adding a constant (in bf16, M + 0.01 = M at M = -7), and
           weighted as if its score were the token's highest
    """
    judged = judge(rule, logits, correction, edits)
    if judged.force is None and rule == _COMMON:
        best, classes = judged.choice.topk(top_k, dim=-1)  # the most common rule, with the fewest operations
        return Routing(best.softmax(-1), classes)
    classes = select(rule, judged, top_k)
    return named(rule, Routing(weigh(rule, judged, classes, expert_scale), classes), logits.shape[-1])


class Judged(NamedTuple):
    """What a rule makes of router logits under edits, each [tokens, classes] in float32; see `select` and `weigh`."""

    logits: Tensor
    scores: Tensor | None  # None: those of the selected follow from their logits
    choice: Tensor
    force: Tensor | None


def judge(rule: RoutingRule, logits: Tensor, correction: Tensor | None, edits: RouterEdits) -> Judged:
    """The edited logits, what the selected weigh by, and what top-k compares."""
    edits = widened(edits, logits.shape[-1]) if rule.skip else edits
    logits = logits.float() if edits.shift is None else logits.float() + edits.shift
    force = edits.force
    if _by_logit(rule, correction) or rule.score == "sparsemixer":
        return Judged(logits, None, logits if force is None else logits.masked_fill(force, float("inf")), force)
    scores = _scores(rule, logits)
    choice = _choice(rule, logits, scores, correction)
    if edits.off is not None:
        choice = choice.masked_fill(edits.off, _MINUS_INF)
    if rule.n_group > 1:
        choice = choice.masked_fill(~_group_mask(rule, choice), _MINUS_INF)
    if force is not None:
        choice = choice.masked_fill(force, float("inf"))
        scores = _raised(scores, force)
    return Judged(logits, scores, choice, force)


def select(rule: RoutingRule, judged: Judged, top_k: int) -> Tensor:
    """The classes that the rule selects, best first, [tokens, k] int64."""
    if rule.score == "sparsemixer":
        return _sparsemixer(rule, judged, top_k, None)[1]
    return judged.choice.topk(top_k, dim=-1).indices


def weigh(rule: RoutingRule, judged: Judged, classes: Tensor, expert_scale: Tensor | None) -> Tensor:
    """What the rule gives to a selection [tokens, k], whoever made it, in float32; 0 for the class that is no expert."""
    if rule.score == "sparsemixer":
        return _sparsemixer(rule, judged, classes.shape[-1], classes)[0]
    if judged.scores is None:  # softmax is monotone, and renormalised over the selected it is theirs alone
        logits = judged.logits
        best = (logits if judged.force is None else _raised(logits, judged.force)).gather(-1, classes)
        weights = best.softmax(-1) if rule.renormalise else (best - logits.logsumexp(-1, keepdim=True)).exp()
    else:
        weights = judged.scores.gather(-1, classes)
        weights = weights / (weights.sum(-1, keepdim=True) + 1e-20) if rule.renormalise else weights
    weights = weights * rule.scaling if rule.scaling != 1 else weights
    if rule.expert_scale and expert_scale is not None:
        weights = weights * expert_scale[classes]
    return weights.masked_fill(classes == judged.logits.shape[-1] - 1, 0) if rule.skip else weights


def named(rule: RoutingRule, chosen: Routing, classes: int) -> Routing:
    """Classes as the experts module is told them: a slot that chose the class that is no expert names expert 0."""
    return chosen._replace(index=chosen.index.masked_fill(chosen.index == classes - 1, 0)) if rule.skip else chosen


def unnamed(rule: RoutingRule, chosen: Routing, classes: int) -> Tensor:
    """The classes behind what the experts module is told, the inverse of `named`: a slot without weight on expert 0 skips."""
    return (
        chosen.index.masked_fill((chosen.index == 0) & (chosen.weights == 0), classes - 1)
        if rule.skip
        else chosen.index
    )


def _by_logit(rule: RoutingRule, correction: Tensor | None) -> bool:
    """Whether logits can stand for the scores, which takes fewer operations."""
    return rule.score == "softmax" and rule.n_group == 1 and not (rule.correction_bias and correction is not None)


def _raised(scores: Tensor, force: Tensor) -> Tensor:
    """Forced experts score as the token's highest."""
    return torch.where(force, scores.amax(-1, keepdim=True), scores)


def _scores(rule: RoutingRule, logits: Tensor) -> Tensor:
    if rule.score == "sqrtsoftplus":
        return torch.nn.functional.softplus(logits).sqrt()
    return logits.softmax(-1) if rule.score == "softmax" else logits.sigmoid()


def _choice(rule: RoutingRule, logits: Tensor, scores: Tensor, correction: Tensor | None) -> Tensor:
    """What top-k compares."""
    if not rule.correction_bias or correction is None:
        return scores
    return (logits if rule.bias_on == "logit" else scores) + correction


def widened(edits: RouterEdits, classes: int) -> RouterEdits:
    """Edits of experts as edits of the router's classes: the class that is no expert is never edited."""
    pad = (0, 1)
    parts = (None if t is None or t.shape[-1] == classes else torch.nn.functional.pad(t, pad) for t in edits)
    return RouterEdits(*(new if new is not None else old for new, old in zip(parts, edits, strict=True)))


def _sparsemixer(rule: RoutingRule, judged: Judged, top_k: int, picks: Tensor | None) -> tuple[Tensor, Tensor]:
    """One expert after the other, each out of the running for the next (`picks`: in that order); see `RoutingRule`."""
    force = judged.force
    logits = judged.logits if force is None else _raised(judged.logits, force)
    left, weights, chosen = logits, list[Tensor](), list[Tensor]()
    for slot in range(top_k):
        best = left.amax(-1, keepdim=True)
        far = (best - left) / logits.abs().maximum(best) > 2 * rule.jitter
        open_ = left if force is None else left.masked_fill(force & left.isfinite(), float("inf"))
        pick = open_.argmax(-1, keepdim=True) if picks is None else picks[:, slot : slot + 1]
        weights.append(left.masked_fill(far, _MINUS_INF).softmax(-1).gather(-1, pick))
        chosen.append(pick)
        left = left.scatter(-1, pick, _MINUS_INF)
    return torch.cat(weights, -1), torch.cat(chosen, -1)


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


def margin(rule: RoutingRule, logits: Tensor, top_k: int, correction: Tensor | None) -> Tensor:
    """Gap between the k-th and the next selection score, [tokens]; the smaller of it and the gap between groups."""
    logits = logits.float()
    choice = logits if rule.score == "sparsemixer" else _choice(rule, logits, _scores(rule, logits), correction)
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
    return gap if rule.score != "sparsemixer" else torch.minimum(gap, _band_gap(rule, logits, top_k))


def choice_size(rule: RoutingRule, logits: Tensor, correction: Tensor | None) -> Tensor:
    """The largest of the numbers that the rule compares, [tokens]: what a gap between them is large or small beside."""
    logits = logits.float()
    choice = logits if rule.score == "sparsemixer" else _choice(rule, logits, _scores(rule, logits), correction)
    return choice.abs().amax(-1)


def _band_gap(rule: RoutingRule, logits: Tensor, top_k: int) -> Tensor:
    """How far the nearest logit is from the edge of the sparsemixer's band, [tokens]: weights jump there."""
    gap, left = torch.full(logits.shape[:1], float("inf"), device=logits.device), logits
    for _ in range(top_k):
        best, pick = left.max(-1, keepdim=True)
        edge = ((best - left) / logits.abs().maximum(best) - 2 * rule.jitter).abs()
        gap = torch.minimum(gap, edge.nan_to_num(float("inf")).amin(-1))
        left = left.scatter(-1, pick, _MINUS_INF)
    return gap
