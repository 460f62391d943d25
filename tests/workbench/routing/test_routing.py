"""The routing rule against plain Python, and the fit: it finds each family's rule, and refuses what it cannot reproduce."""

import math
from dataclasses import replace
from itertools import combinations, product
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.support import families, routing_rules
from tests.support.families import DTYPES, MODELS
from tests.support.watching import watch
from workbench import Plan, WorkbenchError, load, steered
from workbench.anatomy import RoutingRule
from workbench.loading import tiny_model
from workbench.routing import Routing, fit_rule
from workbench.routing.rule import NO_EDITS, dense, margin, route, router_edits

# ---- plain Python: a selection is right when nothing outside it scores more than anything inside it


def scores_of(rule: RoutingRule, logits: list[float], off: set[int]) -> list[float]:
    if rule.score == "sigmoid":
        return [0.0 if e in off else 1 / (1 + math.exp(-x)) for e, x in enumerate(logits)]
    exps = [0.0 if e in off else math.exp(x - max(logits)) for e, x in enumerate(logits)]
    return [x / math.fsum(exps) for x in exps]


def group_scores(rule: RoutingRule, choice: list[float]) -> list[float]:
    size = len(choice) // rule.n_group
    groups = [sorted(choice[g * size : (g + 1) * size]) for g in range(rule.n_group)]
    return [group[-1] if rule.group_score == "max" else sum(group[-2:]) for group in groups]


def is_right(
    rule: RoutingRule, logits: list[float], correction: list[float], off: set[int], force: set[int], got: list[int]
) -> bool:
    """Whether `got` is one of the right selections; among ties there are several."""
    choice = [
        s + (c if rule.correction_bias else 0.0) for s, c in zip(scores_of(rule, logits, off), correction, strict=True)
    ]
    choice = [-math.inf if e in off else x for e, x in enumerate(choice)]
    by_group, size = group_scores(rule, choice), len(choice) // rule.n_group
    others = [e for e in got if e not in force]
    edge = sorted(by_group, reverse=True)[rule.topk_group - 1]
    sure = {g for g, s in enumerate(by_group) if s > edge + 1e-6}
    open_ = [g for g, s in enumerate(by_group) if g not in sure and s >= edge - 1e-6]
    return force <= set(got) and any(
        _holds_the_best({*sure, *more}, size, choice, got, others)
        for more in combinations(open_, rule.topk_group - len(sure))
    )


def _holds_the_best(groups: set[int], size: int, choice: list[float], got: list[int], others: list[int]) -> bool:
    rest = [e for e in range(len(choice)) if e // size in groups and e not in got]
    inside = all(e // size in groups for e in others)
    return inside and all(choice[e] <= choice[o] + 1e-6 for e in rest for o in others)


@st.composite
def cases(draw: st.DrawFn) -> tuple[RoutingRule, int, list[float], list[float], set[int], set[int]]:
    n_group, size = draw(st.sampled_from([(1, 5), (1, 8), (2, 3), (4, 2), (3, 4)]))
    n, kept = n_group * size, draw(st.integers(1, n_group))
    rule = RoutingRule(
        draw(st.sampled_from(["softmax", "sigmoid"])),
        draw(st.booleans()),
        draw(st.booleans()),
        n_group,
        kept,
        draw(st.sampled_from(["max", "top2"])),
        draw(st.sampled_from([1.0, 2.5])),
    )
    few = st.sampled_from([-2.0, -1.0, 0.0, 0.5, 1.0])  # few values, so that ties are the rule
    logits = draw(st.lists(few | st.floats(-5, 5, width=32), min_size=n, max_size=n))
    correction = draw(st.lists(few, min_size=n, max_size=n))
    top_k = draw(st.integers(1, kept * size))
    force = draw(st.sets(st.integers(0, n - 1), max_size=min(2, top_k)))
    off = (
        set[int]() if n_group > 1 else draw(st.sets(st.integers(0, n - 1), max_size=n - max(top_k, len(force)))) - force
    )
    return rule, top_k, logits, correction, off, force


@settings(max_examples=200, deadline=None)
@given(cases())
def test_route_equals_plain_python(case: Any) -> None:
    rule, top_k, logits, correction, off, force = case
    n = len(logits)
    masks = [torch.tensor([[e in which for e in range(n)]]) for which in (off, force)]
    edits = router_edits(None, masks[0] if off else None, masks[1] if force else None)
    found = route(rule, torch.tensor([logits]), top_k, torch.tensor(correction), edits)
    got = found.index[0].tolist()
    assert len(set(got)) == top_k
    assert is_right(rule, logits, correction, off, force, got)
    scores = scores_of(rule, logits, off)
    scores = [max(scores) if e in force else s for e, s in enumerate(scores)]
    total = math.fsum(scores[e] for e in got) if rule.renormalise else 1.0
    for e, w in zip(got, found.weights[0].tolist(), strict=True):
        assert w == pytest.approx(scores[e] / total * rule.scaling, rel=1e-5, abs=1e-7)


@settings(max_examples=100, deadline=None)
@given(cases())
def test_margin_is_zero_exactly_where_another_selection_is_right(case: Any) -> None:
    rule, top_k, logits, correction, _, _ = case
    gap = margin(rule, torch.tensor([logits]), top_k, torch.tensor(correction))[0].item()
    got = set(route(rule, torch.tensor([logits]), top_k, torch.tensor(correction)).index[0].tolist())
    n = len(logits)
    others = [got - {out} | {into} for out, into in product(got, set(range(n)) - got)]
    tie = any(is_right(rule, logits, correction, set(), set(), sorted(o)) for o in others)
    if tie:
        assert gap <= 1e-5
    if gap <= 1e-7 and rule.n_group == 1:
        assert tie


@given(st.lists(st.lists(st.floats(-5, 5, width=32), min_size=6, max_size=6), min_size=1, max_size=4))
def test_no_edits_is_the_rule(rows: list[list[float]]) -> None:
    logits, rule = torch.tensor(rows), RoutingRule("softmax", True)
    nothing = torch.zeros(1, 6, dtype=torch.bool)
    plain, edited = (
        route(rule, logits, 2),
        route(rule, logits, 2, None, router_edits(torch.zeros(1, 6), nothing, nothing)),
    )
    clear = margin(rule, logits, 2, None) > 0  # among ties either order is right
    assert torch.equal(plain.index[clear], edited.index[clear])
    torch.testing.assert_close(plain.weights, edited.weights, rtol=1e-6, atol=0)
    assert torch.equal(route(rule, logits, 2, None, NO_EDITS).weights, plain.weights)


# ---- the fit

RULES = {
    "mixtral": RoutingRule("softmax", True),
    "olmoe": RoutingRule("softmax", False),
    "qwen2_moe": RoutingRule("softmax", False),
    "qwen3_moe": RoutingRule("softmax", True),
    "gpt_oss": RoutingRule("softmax", True),
    "deepseek_v2": RoutingRule("softmax", False, False, 4, 2, "max", 2.0),
    "deepseek_v3": RoutingRule("sigmoid", True, True, 4, 2, "top2", 2.5),
    "granitemoe": RoutingRule("softmax", True),
    "glm4_moe": RoutingRule("sigmoid", True, True, 4, 2, "top2"),
    "ernie4_5_moe": RoutingRule("softmax", True, True),
    "minimax_m2": RoutingRule("sigmoid", True, True),
    "demo": RoutingRule("softmax", True),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", MODELS)
def test_the_fit_finds_the_familys_rule(name: str, dtype: str) -> None:
    for layer in families.get(name, dtype).anatomy.layers:
        assert layer.rule == (RULES[name] if layer.is_moe else None)
        assert layer.refused == {}


@pytest.mark.parametrize(
    ("family", "config", "expected"),
    [
        ("olmoe", {"norm_topk_prob": True}, replace(RULES["olmoe"], renormalise=True)),
        ("qwen3_moe", {"norm_topk_prob": False}, replace(RULES["qwen3_moe"], renormalise=False)),
        ("deepseek_v3", {"routed_scaling_factor": 2.827}, replace(RULES["deepseek_v3"], scaling=2.827)),
        ("deepseek_v3", {"norm_topk_prob": False}, replace(RULES["deepseek_v3"], renormalise=False)),
        ("deepseek_v2", {"routed_scaling_factor": 16.0}, replace(RULES["deepseek_v2"], scaling=16.0)),
        ("glm4_moe", {"routed_scaling_factor": 0.777}, replace(RULES["glm4_moe"], scaling=0.777)),
    ],
)
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_fit_follows_the_config(family: str, config: dict[str, Any], expected: RoutingRule, dtype: str) -> None:
    model = families.build(family, dtype, **config)
    assert {x.rule for x in model.anatomy.layers if x.is_moe} == {expected}


def observed(rule: RoutingRule, logits: Tensor, correction: Tensor | None = None) -> Routing:
    return route(rule, logits, 3, correction)


LOGITS = 2 * torch.randn(48, 12, generator=torch.Generator().manual_seed(0))


def test_a_wrong_expert_of_little_weight_is_still_wrong() -> None:
    """Peaked weights: the third expert weighs less than the tolerance, so weights alone cannot tell the rules apart."""
    peaked = LOGITS.clone()
    peaked[:, 0] += 12
    correction = {"correction": torch.linspace(0, 1, 12)}
    truth = observed(RoutingRule("softmax", True, True), peaked, correction["correction"])
    other = observed(RoutingRule("softmax", True), peaked)
    assert not torch.equal(truth.index.sort(-1).values, other.index.sort(-1).values)
    assert (dense(truth, 12) - dense(other, 12)).abs().max() < 3e-2
    assert fit_rule(peaked, truth, {}, tolerance=3e-2).rule is None
    assert fit_rule(peaked, truth, correction, tolerance=3e-2).rule == RoutingRule("softmax", True, True)


@pytest.mark.parametrize("tolerance", [1e-4, 3e-2])
def test_a_router_that_lies_is_not_fitted(tolerance: float) -> None:
    truth = observed(RoutingRule("softmax", False), LOGITS)
    lies = {
        "index permuted against weights": (LOGITS, Routing(truth.weights, truth.index.roll(1, -1))),
        "another token's routing": (LOGITS, Routing(truth.weights.roll(1, 0), truth.index.roll(1, 0))),
        "another layer's router": (LOGITS.roll(1, -1), truth),
        "probabilities for logits": (LOGITS.softmax(-1), truth),
        "weights squared": (LOGITS, Routing(truth.weights.square(), truth.index)),
        "the worst experts": (-LOGITS, truth),
        "no weights": (LOGITS, Routing(torch.zeros_like(truth.weights), truth.index)),
        "not a number": (LOGITS, Routing(truth.weights * float("nan"), truth.index)),
    }
    for lie, (logits, routing) in lies.items():
        fit = fit_rule(logits, routing, {}, tolerance=tolerance)
        assert fit.rule is None, lie
        assert "no known routing rule" in fit.reason
    assert (
        fit_rule(LOGITS, Routing(truth.weights.flip(-1), truth.index.flip(-1)), {}).rule is not None
    )  # any slot order


# ---- at load: what does not fit is refused by capability, and keeps the rest


def broken(change: Any) -> Any:
    """A tiny mixtral whose router's answer is changed by `change(logits, weights, index)`."""
    hf = tiny_model("mixtral")
    for layer in hf.model.layers:
        layer.mlp.gate = _Changed(layer.mlp.gate, change)
    hf._can_record_outputs = {**hf._can_record_outputs, "router_logits": _Changed}
    hf.model._can_record_outputs = {**hf.model._can_record_outputs, "router_logits": _Changed}
    return hf


class _Changed(nn.Module):
    def __init__(self, inner: nn.Module, change: Any) -> None:
        super().__init__()
        self.weight, self._inner, self._change = inner.weight, [inner], change

    def forward(self, hidden: Tensor) -> Any:
        return self._change(*self._inner[0](hidden))


LIES = {
    "probabilities for logits": (lambda logits, w, i: (logits.softmax(-1), w, i), "probabilities"),
    "index permuted": (lambda logits, w, i: (logits, w, i.roll(1, -1)), "weights that the router gives do not follow"),
    "another layer's logits": (lambda logits, w, i: (logits.roll(1, -1), w, i), "say nothing about the experts"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_router_whose_logits_do_not_explain_its_choice_is_refused(lie: str) -> None:
    change, reason = LIES[lie]
    with pytest.raises(WorkbenchError, match=reason):
        load(broken(change))


CAPABLE = {
    "weights squared": lambda logits, w, i: (logits, w.square(), i),
    "weights of a temperature": lambda logits, w, i: (logits, w.sqrt(), i),
}


@pytest.mark.parametrize("lie", CAPABLE)
def test_an_unknown_rule_loses_the_edits_that_need_it_and_nothing_else(lie: str) -> None:
    model = load(broken(CAPABLE[lie]))
    for layer in model.anatomy.layers:
        assert layer.rule is None
        assert set(layer.refused) == {"off", "force", "bias"}
        assert all("no known routing rule" in reason for reason in layer.refused.values())
    for plan in (Plan.off("L1E2"), Plan.force("L1E2"), Plan.bias("L1E2", 1.0)):
        with pytest.raises(WorkbenchError, match="not supported"), steered(model, plan):
            raise AssertionError(f"{plan} was accepted")
    ids = families.ids(model)
    used = watch(model, None, ids).layers[1].busiest()[0]
    base = watch(model, None, ids).logits
    for plan in (Plan.mute([(1, used)]), Plan.drop([(1, used)]), Plan.scale([(1, used)], 3.0)):
        assert not torch.equal(watch(model, plan, ids).logits, base)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda logits, w, i: (logits, w), "returned"),
        (lambda logits, w, i: logits, "returned"),
        (lambda logits, w, i: (logits, w[:, :2], i), "returned"),
        (lambda logits, w, i: (w, i, logits), "returned"),
    ],
)
def test_a_router_of_another_shape_is_refused_at_load(change: Any, words: str) -> None:
    hf = broken(change)
    for layer in hf.model.layers:  # a block that copes with such a router
        layer.mlp.forward = _cope(layer.mlp)
    with pytest.raises(WorkbenchError, match=words) as caught:
        load(hf)
    assert "Layer 0" in str(caught.value)


def _cope(block: Any) -> Any:
    def forward(hidden: Tensor) -> Tensor:
        rows = hidden.reshape(-1, hidden.shape[-1])
        block.gate(rows)
        index = torch.zeros(len(rows), 2, dtype=torch.long)
        return block.experts(rows, index, torch.ones(len(rows), 2)).view(hidden.shape)

    return forward


def test_reference_and_fit_speak_of_the_same_models() -> None:
    assert set(RULES) == {*routing_rules.RULES, "demo"}
