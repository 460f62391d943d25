"""What `recording` hands over equals the independent float64 loop over experts."""

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.support import families, reference
from tests.support.families import EACH, IMPLEMENTATIONS, SHARED
from tests.support.watching import hooks_of, plan_of, relative, watch
from workbench import Plan, WorkbenchError, steered
from workbench.hooks import recording
from workbench.model import MoEModel
from workbench.records import ForwardRecord, LayerRecord

EVERYTHING = {"norms", "residual", "logits", "outputs"}
CLOSE = {"float32": 1e-5, "bfloat16": 2e-2}  # relative: of weights, norms and vectors


def record(model: MoEModel, ids: Tensor, plan: Plan | None = None, **options: Any) -> ForwardRecord:
    with (
        torch.no_grad(),
        steered(model, plan or Plan()),
        recording(model, **{"keep": EVERYTHING, **options}) as recorder,
    ):
        model.hf(ids)
        return recorder.take()


def by_expert(record: LayerRecord, values: Tensor, n_experts: int) -> Tensor:
    out = torch.zeros(len(values), n_experts, dtype=torch.float64)
    return out.scatter_(1, record.index, values.double())


def assert_layer(model: MoEModel, layer: int, found: LayerRecord, hidden: Tensor, raw: Tensor, dtype: str) -> None:
    """One layer of a record against the reference; `hidden` [rows, width] is the block's input, `raw` the router's logits."""
    expected = reference.answer(model.hf, layer, hidden, logits=raw)
    outputs = reference.expert_outputs(model.hf, layer, hidden)
    clear, rows = expected.margins > 1e-5, torch.arange(len(hidden))[:, None]
    assert clear.float().mean() > 0.9
    assert found.logits is not None
    assert torch.equal(found.logits, raw)
    selected = torch.zeros_like(expected.selected).scatter_(1, found.index, True)
    assert torch.equal(selected[clear], expected.selected[clear])
    weights = by_expert(found, found.weight, raw.shape[-1])
    assert relative(weights[clear], expected.weights[clear]) < CLOSE[dtype]
    own = outputs[rows, found.index]  # [rows, k, width], whatever was selected
    assert found.output_l2 is not None
    assert found.output_max_abs is not None
    assert found.output_argmax is not None
    torch.testing.assert_close(found.output_l2.double(), own.norm(dim=-1), rtol=CLOSE[dtype], atol=1e-6)
    torch.testing.assert_close(found.output_max_abs.double(), own.abs().amax(-1), rtol=CLOSE[dtype], atol=1e-5)
    at = own.abs().gather(-1, found.output_argmax.long()[..., None])[..., 0]
    torch.testing.assert_close(at, own.abs().amax(-1), rtol=CLOSE[dtype], atol=1e-5)  # the channel, ties aside
    assert found.outputs is not None
    assert sorted(found.outputs.slots.tolist()) == list(range(found.index.numel())), "each slot once"
    assert torch.equal(found.outputs.experts, found.index.reshape(-1)[found.outputs.slots])
    vectors = own.reshape(-1, own.shape[-1])[found.outputs.slots]
    assert relative(found.outputs.vectors, vectors) < CLOSE[dtype]
    assert_shared(model, layer, found, hidden, dtype)


def assert_shared(model: MoEModel, layer: int, found: LayerRecord, hidden: Tensor, dtype: str) -> None:
    expected = reference.shared_output(model.hf, layer, hidden)
    if expected is None:
        assert found.shared == ()
        return
    (shared,) = found.shared
    torch.testing.assert_close(shared.weight.double(), expected.weight, rtol=CLOSE[dtype], atol=1e-6)
    assert shared.size is not None
    assert shared.vectors is not None
    torch.testing.assert_close(shared.size.l2.double(), expected.output.norm(dim=-1), rtol=CLOSE[dtype], atol=1e-6)
    torch.testing.assert_close(
        shared.size.max_abs.double(), expected.output.abs().amax(-1), rtol=CLOSE[dtype], atol=1e-4
    )
    at = expected.output.abs().gather(-1, shared.size.argmax.long()[:, None])[:, 0]
    torch.testing.assert_close(at, expected.output.abs().amax(-1), rtol=CLOSE[dtype], atol=1e-4)
    assert relative(shared.vectors, expected.output) < CLOSE[dtype]


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("dtype", ["float32", pytest.param("bfloat16", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", EACH)
def test_recorded_slots_equal_the_reference(name: str, dtype: str, implementation: str) -> None:
    model = families.get(name, dtype)
    ids = families.ids(model)
    with families.implementation(model, implementation):
        found, seen = record(model, ids), watch(model, None, ids).layers
    assert tuple(found.layers) == model.anatomy.moe_layers
    for layer, here in seen.items():
        assert_layer(model, layer, found.layers[layer], here.hidden, here.logits, dtype)


# ---- the residual stream


def residuals(model: MoEModel, ids: Tensor) -> dict[int, Tensor]:
    """The residual stream: layer -1 the embeddings, layer n the output of decoder layer n; by hooks of the tests' own."""
    found, layers = dict[int, Tensor](), model.hf.model.layers
    first = layers[0].register_forward_pre_hook(
        lambda m, a, kw: found.update({-1: (a[0] if a else kw["hidden_states"])[0]}), with_kwargs=True
    )
    handles = [first] + [
        layer.register_forward_hook(lambda m, a, o, n=n: found.update({n: (o[0] if isinstance(o, tuple) else o)[0]}))
        for n, layer in enumerate(layers)
    ]
    with torch.no_grad():
        model.hf(ids)
    for handle in handles:
        handle.remove()
    return found


def expected_change(model: MoEModel, layer: int, after: Tensor, hidden: Tensor) -> Tensor:
    """1 - cosine of the residual before and after the routed sum, from the layer's output alone."""
    found = reference.answer(model.hf, layer, hidden)
    by = getattr(model.hf.config, "residual_multiplier", 1.0)
    before = after.double() - by * found.block
    return 1 - torch.cosine_similarity(before, before + by * found.routed, dim=-1)


def assert_residual(model: MoEModel) -> None:
    ids = families.ids(model, 1, 16)
    table, stream, seen = record(model, ids).residual, residuals(model, ids), watch(model, None, ids).layers
    assert list(table) == list(range(-1, len(model.hf.model.layers)))
    for layer, rows in stream.items():
        size, found = rows.double().abs(), table[layer]
        torch.testing.assert_close(found.l2.double(), size.norm(dim=-1), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(found.max_abs.double(), size.amax(-1), rtol=0, atol=0)
        assert torch.equal(found.argmax.long(), size.argmax(-1))
        middle = size.sort(-1).values[:, (size.shape[-1] - 1) // 2]
        assert torch.equal(found.median_abs.double(), middle)
        if layer not in seen:
            assert found.routed_change is None, "a dense layer has no routed sum"
            continue
        assert found.routed_change is not None
        expected = expected_change(model, layer, rows, seen[layer].hidden)
        torch.testing.assert_close(found.routed_change.double(), expected, rtol=1e-4, atol=1e-6)
        assert expected.max() > 1e-3


@pytest.mark.parametrize("name", EACH)
def test_recorded_residual_equals_the_reference(name: str) -> None:
    assert_residual(families.get(name))


def test_recorded_residual_knows_a_residual_multiplier() -> None:
    model = families.build("granitemoe", residual_multiplier=0.22)
    assert all(abs(m - 0.22) < 1e-3 for m in model.runtime.multipliers.values() if m is not None)
    assert_residual(model)


# ---- under a plan


@pytest.mark.parametrize("dtype", families.DTYPES)
@pytest.mark.parametrize("name", EACH)
def test_steered_and_recording_nest_in_either_order(name: str, dtype: str) -> None:
    model = families.get(name, dtype)
    ids = families.ids(model)
    a, b, c, d, *_, z = watch(model, None, ids).layers[families.moe_layer(model)].busiest()
    plan = plan_of(model, [("off", a, None), ("force", z, None), ("scale", b, 2.0)], positions="1-5")
    plan |= plan_of(model, [("mute", c, None), ("replace", d, [0.25] * model.anatomy.hidden_size), ("drop", d, None)])
    with torch.no_grad():
        with steered(model, plan), recording(model, keep=EVERYTHING) as inner:
            first = model.hf(ids).logits
            one = inner.take()
        with recording(model, keep=EVERYTHING) as outer, steered(model, plan):
            second = model.hf(ids).logits
            two = outer.take()
        with steered(model, plan):
            alone = model.hf(ids).logits
    assert torch.equal(first, second)
    assert torch.equal(first, alone)
    for layer, x in one.layers.items():
        y = two.layers[layer]
        for part in ("index", "weight", "logits", "output_l2", "output_max_abs", "output_argmax"):
            assert torch.equal(getattr(x, part), getattr(y, part)), part
        assert x.outputs is not None
        assert y.outputs is not None
        assert all(torch.equal(p, q) for p, q in zip(x.outputs, y.outputs, strict=True))
    for layer, x in one.residual.items():
        assert all(p is q or torch.equal(p, q) for p, q in zip(x, two.residual[layer], strict=True))


@pytest.mark.parametrize("name", EACH)
def test_recorded_under_a_plan_is_what_the_experts_received(name: str) -> None:
    model = families.get(name)
    ids = families.ids(model)
    a, b, *_, z = watch(model, None, ids).layers[families.moe_layer(model)].busiest()
    plan = plan_of(model, [("off", a, None), ("force", z, None), ("scale", b, 2.0)])
    found, seen = record(model, ids, plan), watch(model, plan, ids).layers
    for layer, here in seen.items():
        assert torch.equal(found.layers[layer].index, here.index)
        assert torch.equal(found.layers[layer].weight, here.weights)
        assert found.layers[layer].logits is not None
        assert torch.equal(found.layers[layer].logits, here.logits)


@pytest.mark.parametrize("name", SHARED)
def test_recorded_shared_output_is_the_experts_own_under_a_plan(name: str) -> None:
    model = families.get(name)
    ids, layer = families.ids(model), families.moe_layer(model)
    plan = Plan.mute(f"L{layer}S0")
    seen = watch(model, plan, ids).layers[layer]
    found = record(model, ids, plan).layers[layer]
    assert_shared(model, layer, found, seen.hidden, "float32")


# ---- options and honesty


def test_keep_says_what_is_kept() -> None:
    model = families.get("qwen2_moe")
    ids = families.ids(model)
    bare = record(model, ids, keep=())
    assert bare.residual == {}
    for x in bare.layers.values():
        assert (x.logits, x.output_l2, x.outputs) == (None, None, None)
        assert x.shared[0].size is None
    some = record(model, ids, keep=EVERYTHING, layers=[1], experts=[(1, 3), (1, -1)])
    for layer, x in some.layers.items():
        assert (x.logits is not None) == (layer == 1)
        assert (x.outputs is not None) == (layer == 1)
    assert some.layers[1].outputs is not None
    assert set(some.layers[1].outputs.experts.tolist()) == {3}
    assert len(some.layers[1].outputs.slots) == int((some.layers[1].index == 3).sum())
    assert some.layers[1].shared[0].vectors is not None
    with pytest.raises(WorkbenchError, match="keep"), recording(model, keep={"norm"}):
        raise AssertionError("entered")


def test_a_silent_layer_is_never_a_zero() -> None:
    """An experts kernel whose product we cannot see is refused, not recorded as zeros."""
    model = families.build("olmoe")
    experts = reference.experts_of(model.hf, 1)
    plain = type(experts).forward

    def fused(hidden: Tensor, index: Tensor, weights: Tensor) -> Tensor:
        return plain(experts, hidden, index, weights.as_subclass(Tensor))

    experts.forward = fused
    with pytest.raises(WorkbenchError, match="Layer 1: 0 of 72"):
        record(model, families.ids(model))
    del experts.forward
    assert hooks_of(model.hf) == []
    with recording(model) as recorder, pytest.raises(WorkbenchError, match=r"Layers \[0, 1, 2\]"):
        recorder.take()


@pytest.mark.parametrize("name", ["mixtral", "deepseek_v3"])
def test_recording_does_not_disturb_gradients(name: str) -> None:
    model = families.build(name)
    ids = families.ids(model)
    wanted = torch.autograd.grad(model.hf(ids).logits.square().mean(), reference.experts_of(model.hf, 1).down_proj)[0]
    with recording(model, keep=EVERYTHING):
        loss = model.hf(ids).logits.square().mean()
    found = torch.autograd.grad(loss, reference.experts_of(model.hf, 1).down_proj)[0]
    assert torch.equal(found, wanted)
