"""Contract 6: an impossible plan is refused with layer and numbers; it is never trimmed."""

from itertools import combinations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import families
from tests.support.families import GROUPED, MODELS
from tests.support.watching import watch
from workbench import Plan, WorkbenchError, steered
from workbench.anatomy import Anatomy, LayerAnatomy, RoutingRule
from workbench.routing.rule import route, router_edits


def refused(name: str, plan: Plan) -> str:
    """What `steered` says; the block must not be entered."""
    model = families.get(name)
    with pytest.raises(WorkbenchError) as caught, steered(model, plan):
        raise AssertionError(f"{plan} was accepted")
    return str(caught.value)


@pytest.mark.parametrize("name", MODELS)
def test_contract_6_forcing_more_than_top_k_is_refused(name: str) -> None:
    model = families.get(name)
    layer = model.anatomy.layer(families.moe_layer(model))
    possible = Plan.force([(layer.layer, e) for e in range(layer.top_k)])
    with steered(model, possible):
        found = watch(model, None, families.ids(model)).layers[layer.layer]
        assert found.received()[:, : layer.top_k].all()
    message = refused(name, possible | Plan.force([(layer.layer, layer.top_k)]))
    assert f"Layer {layer.layer} " in message
    assert f"selects {layer.top_k} experts" in message
    assert f"forces {layer.top_k + 1}" in message


@pytest.mark.parametrize("name", [n for n in MODELS if n not in GROUPED])
def test_contract_6_leaving_fewer_than_top_k_is_refused(name: str) -> None:
    model = families.get(name)
    layer = model.anatomy.layer(families.moe_layer(model))
    possible = Plan.off([(layer.layer, e) for e in range(layer.n_experts - layer.top_k)])
    with steered(model, possible):
        found = watch(model, None, families.ids(model)).layers[layer.layer]
        assert found.received()[:, -layer.top_k :].all()
    message = refused(name, possible | Plan.off([(layer.layer, layer.n_experts - layer.top_k)]))
    assert f"Layer {layer.layer} " in message
    assert f"leaves {layer.top_k - 1} on" in message
    assert f"{layer.top_k} of {layer.n_experts}" in message


@pytest.mark.parametrize("name", GROUPED)
def test_contract_6_groups_must_hold_enough(name: str) -> None:
    """16 experts, 4 groups, 2 of them survive, top-3: five groups of cases around the edge."""
    model, n = families.get(name), families.moe_layer(families.get(name))
    needs = 1 if name == "deepseek_v2" else 2
    cases = {
        (4, 4, 2, 2): True,
        (4, 4, 0, 0): True,  # two groups are left, and they hold eight
        (4, 4, 4, 1): True,  # 1 + 4, or the group of one never scores
        (4, 1, 0, 0): needs == 1,  # the best two of one expert is minus infinity
        (1, 1, 1, 1): False,  # whichever two: they hold two
        (4, 0, 0, 0): False,
        (2, 2, 1, 1): needs == 2,  # by the best two: the groups of one are never chosen, and 2 + 2 hold three
    }
    for live, possible in cases.items():
        plan = Plan.off([(n, g * 4 + i) for g, count in enumerate(live) for i in range(4 - count)])
        if possible:
            off = [e.expert.expert for e in plan.edits]
            with steered(model, plan):
                got = watch(model, None, families.ids(model, 4, 16)).layers[n]
            assert not got.received()[:, off].any()
        else:
            message = refused(name, plan)
            assert f"Layer {n} " in message
            assert str(sorted(live)) in message


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (Plan.off([(0, 16)]), ["L0E16", "experts 0-15"]),
        (Plan.off([(7, 0)]), ["Layer 7", "0-2"]),
        (Plan.mute("L0S0"), ["L0S0", "no shared experts"]),
        (Plan.replace([(0, 1)], [0.0] * 31), ["31", "32"]),
        (Plan.replace([(0, 1)], "mean"), ["mean", "with_means"]),
        (Plan((), "0" * 16) | Plan.off([(0, 1)]), ["another model", "0" * 16]),
        (Plan.mute([(0, 1)], span=("<think>", ">")), ["<think>", "7 tokens"]),
    ],
)
def test_contract_6_what_the_model_cannot_do_is_refused(plan: Plan, words: list[str]) -> None:
    message = refused("olmoe", plan)
    assert [w for w in words if w not in message] == []


def test_contract_6_a_dense_layer_has_no_experts() -> None:
    assert "dense" in refused("qwen3_moe", Plan.off([(0, 0)]))


def test_contract_6_plans_of_different_phases_do_not_add_up() -> None:
    model = families.get("olmoe")
    plan = Plan.force([(0, e) for e in range(3)], phase="prompt") | Plan.force(
        [(0, e) for e in (3, 4)], phase="generated"
    )
    with steered(model, plan) as accepted:
        assert len(accepted) == 5
    assert "forces 4" in refused("olmoe", plan | Plan.force([(0, 9)], phase="prompt"))
    assert "forces 5" in refused("olmoe", plan | Plan.force([(0, 9), (0, 10)]))


# ---- groups, by brute force


def anatomy(n_group: int, size: int, kept: int, top_k: int, by: str) -> Anatomy:
    rule = RoutingRule("sigmoid", True, False, n_group, kept, by)  # pyright: ignore[reportArgumentType]
    layer = LayerAnatomy(0, n_group * size, top_k, 0, "router", "experts", (), rule)
    return Anatomy("made up", "none", 8, 16, "0", (layer,))


def brute_force(live: list[list[int]], forced: set[int], kept: int, top_k: int, by: str) -> bool:
    """Possible when force fills every slot, or every choice of groups that can happen holds as many live experts as are
    missing, and no group without a score is needed.
    """
    if len(forced) == top_k:
        return True
    scored = [group for group in live if len(group) >= (2 if by == "top2" else 1)]
    choices = list(combinations(scored, kept))
    return bool(choices) and all(len(forced.union(*choice)) >= top_k for choice in choices)


@st.composite
def grouped_plans(draw: st.DrawFn) -> tuple[Anatomy, set[int], set[int]]:
    n_group, size = draw(st.integers(2, 4)), draw(st.integers(2, 4))
    kept = draw(st.integers(1, n_group))
    top_k = draw(st.integers(1, kept * size))
    off = draw(st.sets(st.integers(0, n_group * size - 1), min_size=1))
    forced = draw(st.sets(st.integers(0, n_group * size - 1), max_size=top_k)) - off
    return anatomy(n_group, size, kept, top_k, draw(st.sampled_from(["max", "top2"]))), off, forced


@settings(max_examples=300, deadline=None)
@given(grouped_plans(), st.integers(0, 10**6))
def test_contract_6_groups_by_brute_force(case: tuple[Anatomy, set[int], set[int]], seed: int) -> None:
    made, off, forced = case
    layer = made.layers[0]
    rule = layer.rule
    assert rule is not None
    size = layer.n_experts // rule.n_group
    live = [[e for e in range(g * size, (g + 1) * size) if e not in off] for g in range(rule.n_group)]
    possible = brute_force(live, forced, rule.topk_group, layer.top_k, rule.group_score)
    possible = possible and sum(map(len, live)) >= layer.top_k
    plan = Plan.off([(0, e) for e in off]) | Plan.force([(0, e) for e in forced])
    try:
        plan.check(made)
    except WorkbenchError:
        assert not possible, f"{live} is possible and was refused"
        return
    assert possible, f"{live} is impossible and was accepted"
    logits = 3 * torch.randn(64, layer.n_experts, generator=torch.Generator().manual_seed(seed))
    masks = {
        name: torch.tensor([[e in es for e in range(layer.n_experts)]])
        for name, es in (("off", off), ("force", forced))
    }
    chosen = route(rule, logits, layer.top_k, None, router_edits(**masks))
    assert not torch.isin(chosen.index, torch.tensor(sorted(off))).any(), "a dead expert was selected"
    assert all((chosen.index == e).any(-1).all() for e in forced)
    assert chosen.weights.isfinite().all()


def test_contract_6_force_that_is_limited_fills_no_slot_elsewhere() -> None:
    made = anatomy(2, 2, 1, 1, "max")
    off = Plan.off([(0, e) for e in (0, 1, 2)])
    assert off.check(made)
    made, off = anatomy(2, 2, 1, 2, "max"), Plan.off("L0E2")
    assert (off | Plan.force("L0E0-1")).check(made)
    with pytest.raises(WorkbenchError, match="Layer 0 selects 2 experts from 1 of 2 groups"):
        (off | Plan.force("L0E0-1", positions="0-3")).check(made)
