"""The router's own answer changed only where edits change it: weights worked out by hand, and a router that is not its rule."""

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

import workbench.routing.rerouting as module
from workbench.anatomy import RoutingRule
from workbench.routing import Router, Routing, reroute, unlike
from workbench.routing.rule import RouterEdits, route, router_edits

SIGMOID = RoutingRule("sigmoid", False)  # each expert scored by itself
SHARED_OUT = RoutingRule("softmax", True)
SHARES = RoutingRule("softmax", False)  # shares of all experts
ODDS = [[math.log(x) for x in (1.0, 2.0, 3.0, 4.0)]]  # softmax: tenths
SCORES = [[math.log(s / (1 - s)) for s in (0.5, 0.75, 0.25, 0.9)]]  # sigmoid


def mask(*experts: int, of: int = 4) -> Tensor:
    return torch.tensor([[e in experts for e in range(of)]])


def bias(expert: int, by: float) -> RouterEdits:
    return router_edits(torch.tensor([[by if e == expert else 0.0 for e in range(4)]]))


def off(*experts: int) -> RouterEdits:
    return router_edits(None, mask(*experts))


def force(*experts: int) -> RouterEdits:
    return router_edits(None, None, mask(*experts))


def ask(
    rule: RoutingRule, logits: list[list[float]], index: Sequence[int], weights: Sequence[float], edits: RouterEdits
) -> tuple[list[int], list[float]]:
    """The answer for one token whose router itself said `index` and `weights`."""
    own = Routing(torch.tensor([weights]), torch.tensor([index]))
    found = reroute(Router(rule), torch.tensor(logits), own, edits)
    return found.index[0].tolist(), found.weights[0].tolist()


def f32(*values: float) -> list[float]:
    return torch.tensor(values).tolist()


# the router's own answer: the rule's selection, with weights that are only nearly the rule's (marked by their thousandths)
OWN = {"sigmoid": ([3, 1], [0.901, 0.749]), "shared out": ([3, 2], [0.572, 0.428]), "shares": ([2, 3], [0.301, 0.401])}
RULES = {"sigmoid": (SIGMOID, SCORES), "shared out": (SHARED_OUT, ODDS), "shares": (SHARES, ODDS)}
LN2 = math.log(2)

CASES: list[tuple[str, str, RouterEdits, list[int], list[float]]] = [
    ("sigmoid", "a bias on one slot leaves the other", bias(1, -LN2), [3, 1], [0.901, 0.6]),
    ("sigmoid", "off: the next takes the slot", off(1), [3, 0], [0.901, 0.5]),
    ("sigmoid", "off where it is not", off(0, 2), [3, 1], [0.901, 0.749]),
    ("sigmoid", "forced weighs as the highest", force(2), [2, 3], [0.9, 0.901]),
    ("sigmoid", "forced where it is already: its weight alone", force(1), [3, 1], [0.901, 0.9]),
    ("sigmoid", "forced where it is the highest already", force(3), [3, 1], [0.901, 0.749]),
    ("sigmoid", "a bias that lets nobody in", bias(2, LN2), [3, 1], [0.901, 0.749]),
    ("sigmoid", "a bias that lets it in", bias(2, math.log(12)), [3, 2], [0.901, 0.8]),
    ("shared out", "off: both shares are new", off(3), [2, 1], [0.6, 0.4]),
    ("shared out", "off where it is not", off(0), [3, 2], [0.572, 0.428]),
    ("shared out", "a bias within the selection keeps the slots", bias(2, LN2), [3, 2], [0.4, 0.6]),
    ("shared out", "a bias that lets it out", bias(2, -LN2), [3, 1], [4 / 6, 2 / 6]),
    ("shared out", "forced weighs as the highest", force(0), [0, 3], [0.5, 0.5]),
    ("shared out", "forced where it is the highest already", force(3), [3, 2], [0.572, 0.428]),
    ("shares", "off where it is not: its share is given back", off(0), [2, 3], [3 / 9, 4 / 9]),
    ("shares", "off", off(3), [2, 1], [3 / 6, 2 / 6]),
    ("shares", "forced where it is the highest already", force(3), [2, 3], [0.301, 0.401]),
]


@pytest.mark.parametrize(("name", "what", "edits", "index", "weights"), CASES, ids=[f"{c[0]}: {c[1]}" for c in CASES])
def test_by_hand(name: str, what: str, edits: RouterEdits, index: list[int], weights: list[float]) -> None:
    (rule, logits), own = RULES[name], OWN[name]
    found, shares = ask(rule, logits, *own, edits)
    assert dict(zip(found, shares, strict=True)).keys() == set(index)
    expected = dict(zip(index, f32(*weights), strict=True))
    for expert, share in zip(found, shares, strict=True):
        if expected[expert] in f32(*own[1]):
            assert share == expected[expert], "not bit for bit what the router gave"
        assert share == pytest.approx(expected[expert], rel=1e-6)
    if set(index) == set(own[0]):
        assert found == own[0], "the slots changed places"


# a token whose router selected experts 3 and 0, and the rule would have selected 3 and 2 (replay, or a rule that is not its own)
STRANGE = ([3, 0], [0.75, 0.25])
STRANGERS: list[tuple[str, RouterEdits, list[int], list[float]]] = [
    ("what is off was not selected", off(2), [3, 0], [0.75, 0.25]),
    ("what is off was selected", off(0), [3, 2], [4 / 7, 3 / 7]),
    ("forced was selected: the rule's share of this selection", force(0), [3, 0], [0.5, 0.5]),
    ("forced was not selected", force(1), [1, 3], [0.5, 0.5]),
    ("a bias lets in another one", bias(1, math.log(1.9)), [3, 1], [4 / 7.8, 3.8 / 7.8]),
    ("a bias lets out what was not in", bias(2, -LN2), [3, 0], [0.75, 0.25]),
    ("a bias lets in what was in", bias(0, math.log(3.5)), [3, 0], [4 / 7.5, 3.5 / 7.5]),
    ("a bias that moves nobody", bias(1, 0.01), [3, 0], [0.75, 0.25]),
]


@pytest.mark.parametrize(("what", "edits", "index", "weights"), STRANGERS, ids=[s[0] for s in STRANGERS])
def test_a_selection_that_is_not_the_rules(
    what: str, edits: RouterEdits, index: list[int], weights: list[float]
) -> None:
    found, shares = ask(SHARED_OUT, ODDS, *STRANGE, edits)
    assert dict(zip(found, shares, strict=True)) == pytest.approx(dict(zip(index, weights, strict=True)), rel=1e-6)
    if weights == STRANGE[1]:
        assert (found, shares) == STRANGE


def test_of_equal_experts_the_router_has_chosen() -> None:
    """Experts 1, 2 and 3 tie for two slots: which of them top-k would give is nobody's edit."""
    logits = [[0.0, 1.0, 1.0, 1.0, -1.0]]
    for index in ([1, 2], [2, 3], [3, 1]):
        for edits in (router_edits(None, mask(0, of=5)), router_edits(torch.tensor([[0.0, 0, 0, 0, 0.5]]))):
            assert ask(SHARED_OUT, logits, index, [0.51, 0.49], edits) == (index, f32(0.51, 0.49))


def test_a_group_that_loses_its_best_takes_others_with_it() -> None:
    """Sigmoid, two groups of two, one survives by its best two: off 0 turns the token to the other group, by hand."""
    rule = RoutingRule("sigmoid", False, False, 2, 1, "max")
    logits = [[math.log(s / (1 - s)) for s in (0.9, 0.5, 0.75, 0.25)]]
    assert ask(rule, logits, [0, 1], [0.9, 0.5], off(0))[0] == [2, 3]
    lost = [[math.log(s / (1 - s)) for s in (0.25, 0.9, 0.75, 0.5)]]
    found, weights = ask(rule, lost, [1, 0], [0.901, 0.251], off(1))
    assert found == [2, 3]
    assert weights == pytest.approx([0.75, 0.5])
    assert ask(rule, lost, [1, 0], [0.901, 0.251], off(2)) == ([1, 0], f32(0.901, 0.251))


def test_a_sparsemixer_weighs_by_who_came_first() -> None:
    """Within a twentieth of the best, relative to it: logits 2, 1.95 and 0 are two choices alike, then one. By hand."""
    rule, logits = RoutingRule("sparsemixer", False, jitter=0.025), [[0.0, 1.95, 2.0, -1.0]]
    first, second = 1 / (1 + math.exp(-0.05)), 1.0  # 2 against 1.95; then 1.95 alone
    assert ask(rule, logits, [2, 1], [0.5135, 0.999], router_edits(None, mask(0))) == ([2, 1], f32(0.5135, 0.999))
    forced, weights = ask(rule, logits, [2, 1], [first, second], force(1))
    assert forced == [1, 2]
    assert weights == pytest.approx([0.5, 1.0])  # 2 against 2; then 2 alone
    biased, weights = ask(rule, logits, [2, 1], [first, second], bias(1, 0.1))
    assert biased == [1, 2]
    assert weights == pytest.approx([first, 1.0], rel=1e-5)
    assert ask(rule, logits, [2, 1], [0.5135, 0.999], bias(3, -1.0)) == ([2, 1], f32(0.5135, 0.999))


def test_in_half_precision_a_weight_that_rounds_alike_is_the_routers_own() -> None:
    own = Routing(torch.tensor([[0.578, 0.422]], dtype=torch.bfloat16), torch.tensor([[3, 2]]))
    little, more = (reroute(Router(SHARED_OUT), torch.tensor(ODDS), own, bias(2, by)) for by in (1e-4, 0.5))
    assert torch.equal(little.weights, own.weights)
    assert not torch.equal(more.weights, own.weights)
    assert more.weights.dtype == torch.bfloat16


def test_the_class_that_is_no_expert_stays_what_the_router_made_of_it() -> None:
    """The last of four classes skips: its slot names expert 0 with weight 0, beside expert 0 itself."""
    rule = RoutingRule("softmax", False, skip=True)
    assert ask(rule, ODDS, [0, 2], [0.0, 0.301], router_edits(None, mask(1, of=3)))[0] == [0, 2]
    found, weights = ask(rule, ODDS, [0, 2], [0.0, 0.301], router_edits(None, mask(2, of=3)))
    assert found == [0, 1]
    assert weights == pytest.approx([0.0, 2 / 7])


@pytest.mark.parametrize("rule", [SHARED_OUT, SHARES, SIGMOID, RoutingRule("sigmoid", True, False, 2, 1, "top2")])
@pytest.mark.parametrize("tokens", [40, 300])
def test_picking_out_the_tokens_concerned_changes_no_answer(rule: RoutingRule, tokens: int) -> None:
    g = torch.Generator().manual_seed(0)
    logits = torch.randn(tokens, 8, generator=g)
    own = route(rule, logits, 3)
    own = Routing(own.weights * 1.001, own.index)
    some = torch.rand(tokens, 1, generator=g) < 0.5
    scoped, shift = mask(1, of=8) & some, torch.zeros(tokens, 8).masked_fill(mask(2, of=8) & some, 0.5)
    every = [router_edits(None, scoped), router_edits(shift), router_edits(shift, scoped, mask(4, of=8) & some)]
    for edits in every:
        a, b = (reroute(Router(rule), logits, own, edits, inside) for inside in (some[:, 0], None))
        c = module.reroute_rows(Router(rule), logits, own, edits)
        for x in (a, b):
            assert torch.equal(x.index, c.index)
            assert torch.equal(x.weights, c.weights)
        outside = ~some[:, 0]
        assert torch.equal(a.index[outside], own.index[outside])
        assert torch.equal(a.weights[outside], own.weights[outside])
        assert not torch.equal(a.weights, own.weights)


def strange(
    logits: list[float], index: list[int], weights: list[float], rule: RoutingRule = SHARED_OUT, dtype: str = "float32"
) -> bool:
    own = Routing(torch.tensor([weights], dtype=getattr(torch, dtype)), torch.tensor([index]))
    return bool(unlike(Router(rule), torch.tensor([logits]), own)[0])


def test_who_is_unlike_the_rule() -> None:
    odds = ODDS[0]
    assert not strange(odds, [3, 2], [4 / 7, 3 / 7])
    assert not strange(odds, [2, 3], [3 / 7, 4 / 7]), "slots in another order"
    assert not strange(odds, [3, 2], [4 / 7 + 5e-5, 3 / 7]), "within what a fit may be off by"
    assert strange(odds, [3, 2], [4 / 7 + 1e-3, 3 / 7])
    assert strange(odds, [3, 2], [3 / 7, 4 / 7]), "the weights changed places"
    assert strange(odds, [3, 1], [4 / 6, 2 / 6]), "another expert, weighed rightly"
    assert not strange(odds, [3, 2], [4 / 7 + 1e-2, 3 / 7], dtype="bfloat16")
    assert strange(odds, [3, 2], [4 / 7 + 4e-2, 3 / 7], dtype="bfloat16")
    near = [0.0, 1.0, 1.0 + 1e-6, 2.0]
    assert not strange(near, [3, 1], [1 / (1 + math.exp(-1)), 1 / (1 + math.exp(1))]), "a tie"
    apart = [0.0, 1.0, 1.0 + 1e-2, 2.0]
    two = [1 / (1 + math.exp(-1)), 1 / (1 + math.exp(1))]
    assert strange(apart, [3, 1], two)
    assert not strange(apart, [3, 1], two, dtype="bfloat16"), "a tie in half precision"
    assert strange([0.0, 0.5, 1.0, 2.0], [3, 1], [1 / (1 + math.exp(-1.5)), 1 / (1 + math.exp(1.5))], dtype="bfloat16")
