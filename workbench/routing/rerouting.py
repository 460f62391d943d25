"""The router's own answer, changed only where edits change it: what each token's experts receive under off, force and bias.

A rule that was fitted to a router may be only nearly it, and a hook of the user's own may have changed what it answers
(routing replay). So the rule is asked twice, with the edits and without them, and what it says alike both times leaves a
token's own selection, and each slot's own weight, bit for bit as they are.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from workbench.anatomy import RoutingRule
from workbench.routing.fit import HALF_TIE, TIE_MARGIN
from workbench.routing.rule import (
    NO_EDITS,
    Judged,
    RouterEdits,
    Routing,
    choice_size,
    judge,
    margin,
    named,
    route,
    select,
    taken,
    unnamed,
    weigh,
    widened,
)

_SAME = 4 * torch.finfo(torch.float32).eps  # one weight, computed among all experts and among fewer
_FEW = 256  # tokens
# of the token's largest weight: what a fit may be off by (fp32: 1e-4)
_FITTED = {torch.bfloat16: 3e-2, torch.float16: 5e-3}


class Router(NamedTuple):
    """One layer's fitted rule and the tensors that it reads."""

    rule: RoutingRule
    correction: Tensor | None = None
    expert_scale: Tensor | None = None


def reroute(router: Router, logits: Tensor, own: Routing, edits: RouterEdits, inside: Tensor | None = None) -> Routing:
    """The routing under `edits` [1 or tokens, experts], from the router's logits and its own answer.

    inside  tokens in the scope of some edit, bool [tokens]; None: all of them

    A token whose own selection is the rule's is selected anew where the edits change what the rule selects. One whose own
    selection is another (see `unlike`) keeps it, unless an edited expert has to leave it or to enter it.
    """
    if logits.device.type != "cpu":  # looking which tokens are concerned would make the device wait
        return reroute_rows(router, logits, own, edits)
    rows = _concerned(router.rule, own, edits, inside)
    if rows is None:
        return reroute_rows(router, logits, own, edits)
    if not len(rows):
        return own
    few = Routing(own.weights.index_select(0, rows), own.index.index_select(0, rows))
    new = reroute_rows(router, logits.index_select(0, rows), few, edits.rows(rows))
    return Routing(own.weights.index_copy(0, rows, new.weights), own.index.index_copy(0, rows, new.index))


def _concerned(rule: RoutingRule, own: Routing, edits: RouterEdits, inside: Tensor | None) -> Tensor | None:
    """Numbers of the tokens that the edits can concern; None: any token, or so few that picking them out saves nothing."""
    if edits.off is not None and edits.only_off and _settled(rule) and len(own.index) > _FEW:
        selects = taken(edits.off, own.index).any(-1)
        return (selects if inside is None else selects & inside).nonzero()[:, 0]
    return None if inside is None else inside.nonzero()[:, 0]


def _alone(rule: RoutingRule) -> bool:
    """Whether an edit of one expert moves no other against the rest: each is scored by itself, or all are shared out alike."""
    shared_out = rule.score == "softmax" and rule.correction_bias and rule.bias_on == "score"
    return rule.n_group == 1 and not shared_out and not rule.skip and rule.score != "sparsemixer"


def _settled(rule: RoutingRule) -> bool:
    """Whether an expert that is off changes nothing at all for a token that did not select it, nor what others weigh."""
    return _alone(rule) and (rule.renormalise or rule.score != "softmax")


def reroute_rows(router: Router, logits: Tensor, own: Routing, edits: RouterEdits) -> Routing:
    rule, classes = router.rule, logits.shape[-1]
    if edits.off is not None and edits.only_off and rule.renormalise and _settled(rule):
        new = route(rule, logits, own.index.shape[-1], router.correction, edits, router.expert_scale)
        again = taken(edits.off, own.index.long()).any(-1, keepdim=True)
        weights = torch.where(again, new.weights.to(own.weights.dtype), own.weights)
        return Routing(weights, torch.where(again, new.index.to(own.index.dtype), own.index))
    edits = widened(edits, classes) if rule.skip else edits
    plain, edited = (judge(rule, logits, router.correction, e) for e in (NO_EDITS, edits))
    old, new = unnamed(rule, own, classes).long(), select(rule, edited, own.index.shape[-1])
    again = _again(rule, edits, plain, edited, old, new)
    index = torch.where(again, new, old)
    weights = _weighed(router, own, (old, index), (plain, edited), again)
    return named(rule, Routing(weights, index.to(own.index.dtype)), classes)


def _weighed(
    router: Router, own: Routing, chosen: tuple[Tensor, Tensor], by: tuple[Judged, Judged], again: Tensor
) -> Tensor:
    """Weights [tokens, k] for the classes chosen under the edits; `chosen` and `by` are without them, and with them."""
    rule, (old, index), (plain, edited) = router.rule, chosen, by
    after = weigh(rule, edited, index, router.expert_scale)
    given = after.to(own.weights.dtype)
    before = weigh(rule, plain, old, router.expert_scale)
    if rule.renormalise:  # among others each weighs something else
        other = before.to(given.dtype) != given if _alone(rule) else ~_same(before, after, given)
        return torch.where(again | other, given, own.weights)
    return _slot_by_slot(own, old, index, before, after, given)


def _slot_by_slot(own: Routing, old: Tensor, index: Tensor, before: Tensor, after: Tensor, given: Tensor) -> Tensor:
    """Weights [tokens, k] for `index`: an expert that weighs the same before and after keeps what the router gave it."""
    found, slot = (index[:, :, None] == old[:, None, :]).to(torch.uint8).max(-1)
    kept = found.bool() & _same(before.gather(-1, slot), after, given)
    return torch.where(kept, own.weights.gather(-1, slot), given)


def _again(rule: RoutingRule, edits: RouterEdits, plain: Judged, edited: Judged, old: Tensor, new: Tensor) -> Tensor:
    """Which tokens are to have the rule's selection under the edits, `new`, and not their own, `old`; bool [tokens, 1]."""
    ruled = select(rule, plain, old.shape[-1]) if edits.bias is not None or not _alone(rule) else None
    asked = _asked(edits, old, new, ruled, edited.logits.shape[-1])
    if ruled is None or _alone(rule):
        return asked
    if rule.score == "sparsemixer":  # one after the other: whoever comes sooner weighs something else
        return asked | ((ruled == old).all(-1, keepdim=True) & (new != old).any(-1, keepdim=True))
    is_ruled = (ruled.sort(-1).values == old.sort(-1).values).all(-1, keepdim=True)
    return asked | (is_ruled & ~_as_good(edited.choice, old, new))


def _asked(edits: RouterEdits, old: Tensor, new: Tensor, ruled: Tensor | None, classes: int) -> Tensor:
    """Tokens where an edited expert itself leaves the selection or enters it, [tokens, 1]; a bias must be why it does."""
    asked = list[Tensor]()
    if edits.off is not None:
        asked.append(taken(edits.off, old).any(-1, keepdim=True))
    if edits.force is not None:
        asked.append(taken(edits.force, old).sum(-1, keepdim=True) < edits.force.sum(-1, keepdim=True))
    if edits.bias is not None and ruled is not None:
        was, rules, now = _held(torch.stack((old, ruled, new)), classes)
        asked.append(((was != now) & (rules != now) & (edits.bias != 0)).any(-1, keepdim=True))
    return asked[0] if len(asked) == 1 else torch.stack(asked).any(0)


def _as_good(choice: Tensor, old: Tensor, new: Tensor) -> Tensor:
    """Whether two selections differ in ties alone, [tokens, 1]: then which of them top-k gives is its own affair."""
    a, b = (choice.gather(-1, index).sort(-1).values for index in (old, new))
    return (a == b).all(-1, keepdim=True)


def _held(index: Tensor, classes: int) -> Tensor:
    """Selections [..., tokens, k] as bool [..., tokens, classes]."""
    return torch.zeros(*index.shape[:-1], classes, dtype=torch.bool, device=index.device).scatter_(-1, index, True)


def _same(before: Tensor, after: Tensor, given: Tensor) -> Tensor:
    """Whether two weights are one but for rounding, in float32 or as the router gives them. No number is nobody's edit."""
    same = ~((after - before).abs() > before.abs() * _SAME)
    return same if given.dtype == torch.float32 else same | (before.to(given.dtype) == given)


def unlike(router: Router, logits: Tensor, own: Routing) -> Tensor:
    """Tokens whose own routing is not what the rule gives without edits, beyond ties and the dtype's rounding; bool [tokens].

    There an edit goes by a rule that is not this router's.
    """
    rule, correction = router.rule, router.correction
    plain, old = judge(rule, logits, correction, NO_EDITS), unnamed(rule, own, logits.shape[-1])
    same = select(rule, plain, old.shape[-1]).sort(-1).values == old.sort(-1).values
    weights, theirs = weigh(rule, plain, old, router.expert_scale), own.weights.float()
    most = _FITTED.get(own.weights.dtype, 1e-4) * theirs.abs().amax(-1)
    wrong = ~same.all(-1) | ((weights - theirs).abs().amax(-1) > most)
    loose = max(HALF_TIE.get(t.dtype, 0.0) for t in (own.weights, logits))
    tie = TIE_MARGIN if not loose else loose * choice_size(rule, logits, correction)
    return wrong & (margin(rule, logits, old.shape[-1], correction) > tie)
