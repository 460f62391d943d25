"""Contracts 2 and 3: what each of the seven edits does, against plain Python and against models with experts cut out."""

import pytest
import torch
from torch import Tensor

from tests.support import families, reference
from tests.support.families import CORRECTED, DTYPES, EACH, FAMILIES, GROUPED, SHARED
from tests.support.judging import judge
from tests.support.watching import Spec, edits_of, plan_of, relative, watch
from workbench import ExpertRef, Plan, steered
from workbench.hooks.experts import edit_weights
from workbench.model import MoEModel
from workbench.plan import Edit
from workbench.routing import LayerEdits


def ranked(model: MoEModel, ids: Tensor) -> list[int]:
    """Experts by use, over all layers."""
    seen = watch(model, None, ids)
    total = torch.stack([x.received().sum(0) for x in seen.layers.values()]).sum(0)
    return total.argsort(descending=True, stable=True).tolist()


def vector(model: MoEModel, seed: int = 0) -> list[float]:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(model.anatomy.hidden_size, generator=g).to(torch.bfloat16).tolist()


def each_edit(model: MoEModel, ids: Tensor) -> list[list[Spec]]:
    """The seven edits by themselves, on experts that are used, and on one that is not."""
    a, b, c, *_, z = ranked(model, ids)
    return [
        [("off", a, None)],
        [("off", a, None), ("off", b, None), ("off", c, None)],
        [("drop", a, None)],
        [("drop", a, None), ("drop", b, None)],
        [("mute", a, None)],
        [("force", z, None)],
        [("force", a, None), ("force", z, None)],
        [("scale", a, 8.0), ("scale", b, 0.25)],
        [("bias", a, -1.5), ("bias", z, 2.0)],
        [("replace", a, vector(model))],
    ]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", EACH)
def test_contract_2_each_edit_does_what_the_reference_does(name: str, dtype: str) -> None:
    model = families.get(name, dtype)
    ids = families.ids(model, 2, 8)
    base = watch(model, None, ids)
    for specs in each_edit(model, ids):
        seen = watch(model, plan_of(model, specs), ids)
        assert judge(model, seen.layers, specs, dtype) >= 0.5
        assert not torch.equal(seen.logits, base.logits), f"{specs} changed nothing"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", EACH)
def test_contract_2_off_is_never_received_and_force_always_is(name: str, dtype: str) -> None:
    model = families.get(name, dtype)
    ids = families.ids(model, 4, 16)
    a, b, *_, y, z = ranked(model, ids)
    specs: list[Spec] = [("off", a, None), ("off", b, None), ("force", y, None), ("force", z, None)]
    for found in watch(model, plan_of(model, specs), ids).layers.values():
        got = found.received()
        assert not got[:, [a, b]].any()
        assert got[:, [y, z]].all()
        assert (got.sum(-1) == found.index.shape[-1]).all(), "an expert fills two slots"
        highest = found.dense().amax(-1, keepdim=True)
        assert torch.equal(found.dense()[:, [y, z]], highest.expand(-1, 2)), (
            "forced weighs as the token's highest score"
        )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", EACH)
def test_contract_2_edits_apply_in_one_order(name: str, dtype: str) -> None:
    """bias, off, force, top-k, drop, scale, replace, mute: all at once, so that any other order would show."""
    model = families.get(name, dtype)
    ids = families.ids(model, 2, 8)
    a, b, c, d, *_, z = ranked(model, ids)
    specs: list[Spec] = [
        ("bias", a, 50.0),  # would win everywhere ...
        ("off", a, None),  # ... and is off nevertheless
        ("bias", z, -50.0),  # would never be selected ...
        ("force", z, None),  # ... and is forced nevertheless
        ("drop", z, None),  # the kept weights share out the forced expert's
        ("scale", b, 3.0),  # after drop: the kept sum is not restored
        ("replace", b, vector(model)),  # weighted by the scaled weight
        ("replace", c, vector(model, 1)),
        ("mute", c, None),  # wins over replace
        ("scale", d, 0.5),
    ]
    assert judge(model, watch(model, plan_of(model, specs), ids).layers, specs, dtype) >= 0.5


@pytest.mark.parametrize("name", EACH)
def test_contract_2_all_slots_dropped_is_zero(name: str) -> None:
    model = families.get(name)
    ids = families.ids(model, 2, 6)
    layer = families.moe_layer(model)
    everything: list[Spec] = [("drop", e, None) for e in range(model.anatomy.layer(layer).n_experts)]
    found = watch(model, plan_of(model, everything, [layer]), ids).layers[layer]
    assert not found.dense().any()
    expected = reference.answer(model.hf, layer, found.hidden, edits_of(everything), logits=found.logits)
    assert not expected.routed.any()
    assert relative(found.block, expected.block) < 1e-5 or not found.block.any()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CORRECTED)
def test_contract_2_a_large_correction_bias_brings_no_expert_back(name: str, dtype: str) -> None:
    """Masking the logits alone leaks here: the bias is larger than any score, and prefers the experts that are off."""
    model = families.build(name, dtype)
    favourites = [0, 4, 8]  # one of each group where there are four
    with torch.no_grad():
        for layer in model.anatomy.moe_layers:
            module, attribute = reference.block_of(model.hf, layer), "e_score_correction_bias"
            tensor = next(t for n, t in module.state_dict(keep_vars=True).items() if n.endswith(attribute))
            tensor.view(-1)[favourites] = 5.0
    ids = families.ids(model, 4, 16)
    base = watch(model, None, ids)
    assert all(x.received()[:, favourites].any() for x in base.layers.values())
    specs: list[Spec] = [("off", e, None) for e in favourites]
    seen = watch(model, plan_of(model, specs), ids)
    assert not any(x.received()[:, favourites].any() for x in seen.layers.values())
    assert judge(model, seen.layers, specs, dtype) >= 0.5


@pytest.mark.parametrize("name", GROUPED)
def test_contract_2_off_may_change_which_groups_survive(name: str) -> None:
    """Genuine: a group without its best expert scores less, so tokens move that never chose the expert."""
    model = families.get(name)
    ids = families.ids(model, 8, 32)
    layer = families.moe_layer(model, 0)
    before = watch(model, None, ids).layers[layer]
    specs: list[Spec] = [("off", before.busiest()[0], None)]
    seen = watch(model, plan_of(model, specs, [layer]), ids)
    assert judge(model, seen.layers, specs, "float32", [layer]) >= 0.5
    if name != "deepseek_v2":  # scored by the best two: the second best matters to tokens that did not select it
        unselected = ~before.received()[:, specs[0][1]]
        moved = (before.received() != seen.layers[layer].received()).any(-1) & unselected
        print(f"{name}: {moved.float().mean():.1%} of tokens re-routed that never chose the expert")


@pytest.mark.parametrize("name", FAMILIES)
def test_contract_2_off_equals_a_model_without_the_expert(name: str) -> None:
    """fp32: the whole model's logits, and what it generates, against one with the expert cut out of its weights."""
    model = families.build(name, n_group=1, topk_group=1) if name in GROUPED else families.get(name)
    ids = families.ids(model)
    gone = ranked(model, ids)[:2]
    smaller = reference.without_experts(model.hf, gone)
    assert sum(p.numel() for p in smaller.parameters()) < sum(p.numel() for p in model.hf.parameters())
    with steered(model, plan_of(model, [("off", e, None) for e in gone])), torch.no_grad():
        logits = model.hf(ids).logits
        answer = model.hf.generate(ids, max_new_tokens=6, do_sample=False)
    with torch.no_grad():
        assert relative(logits, smaller(ids).logits) < 1e-5
        assert relative(logits, model.hf(ids).logits) > 1e-3
        assert torch.equal(answer, smaller.generate(ids, max_new_tokens=6, do_sample=False))


def test_contract_2_force_wins_ties_in_bf16() -> None:
    """Adding a constant to the logits loses here: all logits are equal and large, M + 0.01 = M."""
    model = families.build("mixtral", "bfloat16")
    with torch.no_grad():
        for layer in model.anatomy.moe_layers:
            reference.router_of(model.hf, layer).weight.zero_()
    got = [
        x.received() for x in watch(model, plan_of(model, [("force", 7, None)]), families.ids(model)).layers.values()
    ]
    assert all(x[:, 7].all() for x in got)


@pytest.mark.parametrize("name", EACH)
def test_contract_3_mute_equals_subtracting_the_weighted_output(name: str) -> None:
    model = families.get(name)
    ids = families.ids(model)
    for layer in model.anatomy.moe_layers:
        base = watch(model, None, ids).layers[layer]
        expert = base.busiest()[0]
        muted = watch(model, Plan.mute([(layer, expert)]), ids).layers[layer]
        contribution = base.dense()[:, expert, None] * reference.expert_outputs(model.hf, layer, base.hidden)[:, expert]
        assert torch.equal(base.index, muted.index), "muting must not change the selection"
        assert contribution.norm() > 0
        torch.testing.assert_close(base.block - contribution, muted.block.double(), rtol=1e-5, atol=1e-5)
        assert relative(base.block - contribution, muted.block) < 1e-5
        assert relative(base.block.double() - muted.block.double(), contribution) < 1e-5


@pytest.mark.parametrize("kind", ["mute", "scale", "replace"])
@pytest.mark.parametrize("name", SHARED)
def test_contract_3_shared_experts_can_be_muted_scaled_and_replaced(name: str, kind: str) -> None:
    for dtype in DTYPES:
        model = families.get(name, dtype)
        value = {"mute": None, "scale": 2.5, "replace": vector(model)}[kind]
        specs: list[Spec] = [(kind, -1, value), ("off", 1, None)]
        assert judge(model, watch(model, plan_of(model, specs), families.ids(model, 2, 8)).layers, specs, dtype) >= 0.5


@pytest.mark.parametrize("implementation", families.IMPLEMENTATIONS)
@pytest.mark.parametrize("name", EACH)
def test_contract_2_edits_hold_on_every_experts_implementation(name: str, implementation: str) -> None:
    model = families.get(name)
    ids = families.ids(model, 2, 8)
    a, b, c, d, *_, z = ranked(model, ids)
    specs: list[Spec] = [("off", a, None), ("force", z, None), ("drop", b, None), ("scale", z, 2.0)]
    specs += [("replace", c, vector(model)), ("mute", d, None)]
    with families.implementation(model, implementation):
        assert judge(model, watch(model, plan_of(model, specs), ids).layers, specs, "float32") >= 0.5


def test_dropping_leaves_rows_without_the_expert_bit_for_bit() -> None:
    """Whatever their weights are: a router of one's own may weigh below zero, and numbers overflow."""
    edits = LayerEdits((Edit("drop", ExpertRef(0, 1)),), 4, {})
    index = torch.tensor([[0, 2], [2, 3], [3, 0], [0, 1]])
    weights = torch.tensor([[-1.0, 0.25], [float("inf"), 1.0], [0.0, -0.0], [0.25, 0.75]])
    found = edit_weights(edits, index, weights, None)
    assert torch.equal(found[:3].view(torch.int32), weights[:3].view(torch.int32))
    assert found[3].tolist() == [1.0, 0.0]
