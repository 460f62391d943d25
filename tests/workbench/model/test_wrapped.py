"""One plan in three libraries gives the same next-token distribution, and nobody's model is damaged."""

# ruff: noqa: SIM117 - nnsight reads the source of a `with`: how they are nested is what is tested
import copy
import sys
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.support import families
from tests.support.families import FAMILIES, MODELS, slow
from workbench import Plan, WorkbenchError, capture, load, steered
from workbench.hooks import recording
from workbench.model import MoEModel

# looked for, not imported: collecting the tests should not cost the import
pytestmark = pytest.mark.skipif(
    not (find_spec("transformer_lens") and find_spec("nnsight")),
    reason="the extra 'interop' is not installed (TransformerLens, nnsight)",
)

SOME = ("mixtral", "deepseek_v3", "demo")
PROMPTS = ["what happened", "calculate 4 + 7"]


def own(name: str) -> Any:
    """A copy of the family's model that nobody else sees."""
    return copy.deepcopy(families.get(name).hf)


def bridge_of(hf: Any) -> Any:
    from transformer_lens.model_bridge.sources import build_bridge_from_module

    return build_bridge_from_module(hf, type(hf).__name__, hf_config=hf.config, tokenizer=None)


def bridged(name: str) -> tuple[Any, MoEModel]:
    bridge = bridge_of(own(name))
    return bridge, load(bridge, families.get(name).tokenizer)


def traced(name: str) -> tuple[Any, MoEModel]:
    from nnsight import TransformersModel

    wrapped = TransformersModel(own(name), task="text-generation", tokenizer=families.get(name).tokenizer)
    return wrapped, load(wrapped)


def used(model: MoEModel, ids: Tensor) -> dict[int, list[int]]:
    """Experts of each layer by use, the most used first."""
    with torch.no_grad(), recording(model, keep=()) as recorder:
        model.hf(ids, use_cache=False)
        layers = recorder.take().layers
    n = {layer: model.anatomy.layer(layer).n_experts for layer in layers}
    return {layer: torch.bincount(x.index.flatten(), minlength=n[layer]).argsort(descending=True).tolist()
            for layer, x in layers.items()}  # fmt: skip


def a_plan(model: MoEModel, ids: Tensor) -> Plan:
    """Several kinds of edit in every layer."""
    plan = Plan()
    for layer, (a, b, c, *_) in used(model, ids).items():
        plan |= Plan.off([(layer, a)]) | Plan.mute([(layer, b)]) | Plan.scale([(layer, c)], 3)
    return plan


@torch.no_grad()
def through_nnsight(wrapped: Any, ids: Tensor) -> Tensor:
    with wrapped.trace(ids):
        logits = wrapped.lm_head.output.save()
    return logits


@pytest.mark.parametrize("name", slow(MODELS, SOME))
@torch.no_grad()
def test_one_plan_one_distribution_through_three_libraries(name: str) -> None:
    bare = families.get(name)
    ids = families.ids(bare, 2, 12)
    plan = a_plan(bare, ids)
    base = bare.hf(ids, use_cache=False).logits[:, -1].log_softmax(-1)
    with steered(bare, plan):
        wanted = bare.hf(ids, use_cache=False).logits[:, -1].log_softmax(-1)
    assert (base.exp() * (base - wanted)).sum(-1).mean() > 0.01, "a plan that moves nothing proves nothing"

    (bridge, in_lens), (wrapped, in_nnsight) = bridged(name), traced(name)
    assert in_lens.anatomy.fingerprint == in_nnsight.anatomy.fingerprint == bare.anatomy.fingerprint
    with steered(in_lens, plan):
        found = [bridge.run_with_cache(ids)[0], bridge.run_with_hooks(ids, fwd_hooks=[]), in_lens.hf(ids).logits]
    with steered(in_nnsight, plan):
        found += [through_nnsight(wrapped, ids), in_nnsight.hf(ids).logits]
    for logits in found:
        assert (logits[:, -1].softmax(-1) - wanted.exp()).abs().max() < 1e-5
    after = [bridge(ids, return_type="logits"), through_nnsight(wrapped, ids)]
    for logits in after:
        assert (logits[:, -1].softmax(-1) - base.exp()).abs().max() < 1e-5, "the plan outlived its block"


@pytest.mark.parametrize("name", slow(FAMILIES, SOME))
@torch.no_grad()
def test_what_is_recorded_in_a_bridge_is_what_the_bare_model_does(name: str) -> None:
    bare, keep = families.get(name), {"norms", "residual", "logits", "outputs"}
    ids, (bridge, model) = families.ids(bare, 2, 12), bridged(name)
    assert model.anatomy.layers == bare.anatomy.layers
    with recording(bare, keep) as recorder:
        bare.hf(ids, use_cache=False)
        wanted = recorder.take()
    with recording(model, keep) as recorder:
        bridge(ids, return_type="logits")
        found = recorder.take()
    for layer, a in wanted.layers.items():
        b = found.layers[layer]
        assert torch.equal(a.index, b.index)
        for field in ("weight", "logits", "output_l2", "output_max_abs"):
            torch.testing.assert_close(getattr(a, field), getattr(b, field), rtol=1e-4, atol=1e-4)
        assert len(a.shared) == len(b.shared)
    for layer, a in wanted.residual.items():
        b = found.residual[layer]
        torch.testing.assert_close(a.l2, b.l2, rtol=1e-4, atol=1e-4)
        assert (a.routed_change is None) == (b.routed_change is None)
        if a.routed_change is not None and b.routed_change is not None:
            torch.testing.assert_close(a.routed_change, b.routed_change, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", slow(SOME, ("demo",)))
def test_a_capture_is_the_same_whatever_lies_around_the_model(name: str, tmp_path: Any) -> None:
    bare = families.get(name)
    models = {"bare": bare, "lens": bridged(name)[1], "nnsight": traced(name)[1]}
    stores = {
        n: capture(m, PROMPTS, tmp_path / n, keep={"norms", "residual", "logits"}, generate=4, progress=False)
        for n, m in models.items()
    }
    for other in ("lens", "nnsight"):
        for table, columns in {"slots": ("weight", "output_l2"), "residual": ("l2", "routed_change")}.items():
            a, b = stores["bare"].table(table), stores[other].table(table)
            keys = [c for c in ("prompt_id", "position", "layer", "slot", "expert") if c in a]
            assert a[keys].astype(str).equals(b[keys].astype(str))
            for column in columns:
                np.testing.assert_allclose(a[column], b[column], rtol=1e-4, atol=1e-4)
        assert stores["bare"].tokens["token_id"].equals(stores[other].tokens["token_id"])


@torch.no_grad()
def test_neither_the_bridge_nor_the_model_is_damaged() -> None:
    bridge = bridge_of(own("deepseek_v3"))
    hf, ids = bridge.original_model, families.ids(families.get("deepseek_v3"))
    modules = [(name, id(module)) for name, module in hf.named_modules(remove_duplicate=False)]
    before, hooks = bridge(ids, return_type="logits"), set(bridge.hook_dict)
    model = load(bridge, families.get("deepseek_v3").tokenizer)
    with steered(model, Plan.off("L1E2", phase="generated")):
        bridge.generate(ids, max_new_tokens=2, verbose=False, return_type="tokens", stop_at_eos=False)
    assert [(name, id(module)) for name, module in hf.named_modules(remove_duplicate=False)] == modules
    assert torch.equal(bridge(ids, return_type="logits"), before)
    assert set(bridge.hook_dict) == hooks
    assert "_generate_tokens" not in bridge.__dict__
    assert "generate" not in hf.__dict__
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in hf.modules() if "Deepseek" in type(m).__name__)


@torch.no_grad()
def test_the_bridges_cache_shows_the_steered_routing() -> None:
    bridge, model = bridged("mixtral")
    ids = families.ids(model)
    (layer, order) = next(iter(used(model, ids).items()))
    name = f"blocks.{layer}.mlp.hook_expert_indices"
    _, before = bridge.run_with_cache(ids)
    with steered(model, Plan.off([(layer, order[0])])), recording(model) as recorder:
        _, cache = bridge.run_with_cache(ids)
        received = recorder.take().layers[layer].index
    assert (before[name] == order[0]).any()
    assert not (cache[name] == order[0]).any()
    assert torch.equal(cache[name], received)
    assert torch.equal(cache[f"blocks.{layer}.mlp.gate.hook_out"], before[f"blocks.{layer}.mlp.gate.hook_out"])


@torch.no_grad()
def test_granites_logits_are_logits_although_the_bridges_hook_holds_expert_numbers() -> None:
    """TransformerLens 4.3 reads granite's router tuple in another order than transformers answers it."""
    bare, (bridge, model) = families.get("granitemoe"), bridged("granitemoe")
    ids = families.ids(bare)
    with recording(bare, {"logits"}) as recorder:
        bare.hf(ids, use_cache=False)
        wanted = recorder.take().layers[0]
    with recording(model, {"logits"}) as recorder:
        _, cache = bridge.run_with_cache(ids)
        found = recorder.take().layers[0]
    hooked = next(
        cache[name]
        for name in cache
        if (name.startswith("blocks.0.") and name.endswith("hook_router_scores"))
        or (name.startswith("blocks.0.") and name.endswith(("gate.hook_out", "router.hook_out")))
    )
    assert wanted.logits is not None
    assert found.logits is not None
    torch.testing.assert_close(found.logits, wanted.logits, rtol=1e-4, atol=1e-4)
    assert hooked.dtype == torch.int64 or hooked.shape != wanted.logits.shape, (
        "TransformerLens mended it: say so in the docs"
    )


@pytest.mark.parametrize("phase", ["prompt", "generated"])
def test_phases_hold_in_the_bridges_own_decode_loop(phase: str) -> None:
    """With a cache and without one; transformers' own generate is the judge."""
    bare, (bridge, model) = families.get("mixtral"), bridged("mixtral")
    ids, new = families.ids(bare, 2, 6), 8
    plan = Plan.off([(n, e) for n, order in used(bare, ids).items() for e in order[:2]], phase=phase)
    config: dict[str, Any] = {"max_new_tokens": new, "do_sample": False, "eos_token_id": None}
    plain = bare.hf.generate(ids, **config)
    with steered(bare, plan):
        wanted = bare.hf.generate(ids, **config)
    assert not torch.equal(plain, wanted)
    how: dict[str, Any] = {"max_new_tokens": new, "do_sample": False, "stop_at_eos": False, "verbose": False}
    with steered(model, plan):
        for cached in (True, False):
            assert torch.equal(bridge.generate(ids, return_type="tokens", use_past_kv_cache=cached, **how), wanted)
        assert torch.equal(model.hf.generate(ids, **config), wanted)
    assert torch.equal(bridge.generate(ids, return_type="tokens", **how), plain)


@pytest.mark.parametrize("phase", ["prompt", "generated"])
def test_phases_hold_in_nnsights_generate(phase: str) -> None:
    bare, (wrapped, model) = families.get("mixtral"), traced("mixtral")
    ids = families.ids(bare, 1, 6)
    plan = Plan.off([(n, e) for n, order in used(bare, ids).items() for e in order[:2]], phase=phase)
    config: dict[str, Any] = {"max_new_tokens": 8, "do_sample": False}
    with steered(bare, plan):
        wanted = bare.hf.generate(ids, **config)
    assert not torch.equal(bare.hf.generate(ids, **config), wanted)
    with steered(model, plan), wrapped.generate(ids, **config) as tracer:
        found = tracer.result.save()
    assert torch.equal(found, wanted)


def test_steering_inside_a_trace_is_refused() -> None:
    """In all three shapes it did nothing at all, silently."""
    wrapped, model = traced("mixtral")
    ids, plan = families.ids(model), Plan.off("L0E1")
    with pytest.raises(WorkbenchError, match="open it around the trace"):
        in_the_body(wrapped, model, ids, plan)
    with pytest.raises(WorkbenchError, match="open it around the trace"):
        between_trace_and_invoke(wrapped, model, ids, plan)
    tracing = sys.gettrace()
    with pytest.raises(WorkbenchError, match="open it around the trace"):
        behind_it_in_the_same_line(wrapped, model, ids, plan)
    assert sys.gettrace() is tracing
    before = through_nnsight(wrapped, ids)
    with steered(model, plan):  # and after the refusals all is as it was
        assert not torch.equal(through_nnsight(wrapped, ids), before)


def in_the_body(wrapped: Any, model: MoEModel, ids: Tensor, plan: Plan) -> None:
    with wrapped.trace(ids):
        with steered(model, plan):
            wrapped.lm_head.output.save()


def between_trace_and_invoke(wrapped: Any, model: MoEModel, ids: Tensor, plan: Plan) -> None:
    with wrapped.trace() as tracer:
        with steered(model, plan):
            with tracer.invoke(ids):
                wrapped.lm_head.output.save()


def behind_it_in_the_same_line(wrapped: Any, model: MoEModel, ids: Tensor, plan: Plan) -> None:
    with wrapped.trace(ids), steered(model, plan):
        wrapped.lm_head.output.save()


def test_what_cannot_be_opened_is_one_sentence() -> None:
    from nnsight import NNsight

    hf = own("mixtral")
    model = load(hf)
    bridge = bridge_of(hf)
    with pytest.raises(WorkbenchError, match="pass the bridge to load"):
        load(hf)
    with pytest.raises(WorkbenchError, match=r"use load\(bridge\) from then on"), steered(model, Plan.off("L0E1")):
        pass
    again = load(bridge)
    assert load(hf).runtime is again.runtime
    bridge.enable_compatibility_mode(disable_warnings=True)
    with pytest.raises(WorkbenchError, match="processed weights"):
        load(bridge)
    with pytest.raises(WorkbenchError, match="not a Linear"):
        load(NNsight(torch.nn.Linear(2, 2)))
