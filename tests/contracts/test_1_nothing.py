"""Contract 1: with nothing active the model is its own."""

import copy
from typing import Any

import pytest
import torch
from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

from tests.support import families, reference
from tests.support.families import DTYPES, EACH
from tests.support.watching import hooks_of, watch
from workbench import Plan, load, steered
from workbench.hooks import recording
from workbench.loading import tiny_model
from workbench.model import MoEModel
from workbench.routing import Dose

EVERYTHING = {"norms", "residual", "logits", "outputs"}


def untouched(name: str, dtype: str) -> Any:
    """The same model, built without us: no load, no survey."""
    if name == "demo":
        from transformers import AutoModelForCausalLM

        from workbench.bundled import bundled_path

        return AutoModelForCausalLM.from_pretrained(bundled_path("demo-model"), dtype=getattr(torch, dtype)).eval()
    return tiny_model(name, dtype=getattr(torch, dtype))


def generate(hf: Any, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Greedy tokens and the scores they came from."""
    out = hf.generate(ids, max_new_tokens=5, do_sample=False, output_logits=True, return_dict_in_generate=True)
    return out.sequences, torch.stack(out.logits)


def use_everything(model: MoEModel, ids: torch.Tensor) -> None:
    """Steer and record once, with every kind of hook."""
    layer = families.moe_layer(model)
    plan = Plan.off([(layer, 1)], phase="prompt") | Plan.scale([(layer, 2)], 3.0, positions="1-2")
    plan |= Plan.replace([(layer, 3)], [0.5] * model.anatomy.hidden_size)
    with steered(model, plan, dose=Dose()), recording(model, keep=EVERYTHING), torch.no_grad():
        model.hf.generate(ids, max_new_tokens=2, do_sample=False)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", EACH)
def test_contract_1_with_nothing_active_the_model_is_its_own(name: str, dtype: str) -> None:
    own, model = untouched(name, dtype), families.get(name, dtype)
    ids = families.ids(model)
    use_everything(model, ids)
    assert hooks_of(model.hf) == []
    assert model.hf.config._experts_implementation == own.config._experts_implementation
    with torch.no_grad():
        assert torch.equal(model.hf(ids).logits, own(ids).logits)
        for ours, theirs in zip(generate(model.hf, ids), generate(own, ids), strict=True):
            assert torch.equal(ours, theirs)


def test_contract_1_no_experts_backend_of_ours_is_registered() -> None:
    functions = [ALL_EXPERTS_FUNCTIONS[key] for key in ALL_EXPERTS_FUNCTIONS.valid_keys()]
    assert functions
    assert not [f for f in functions if f.__module__.startswith("workbench")]


@pytest.mark.parametrize("name", EACH)
def test_contract_1_an_empty_plan_is_nothing(name: str) -> None:
    model = families.get(name, "bfloat16")
    ids = families.ids(model)
    with torch.no_grad():
        base = model.hf(ids).logits
        with steered(model, Plan()) as plan:
            assert not plan
            assert hooks_of(model.hf) == []
            assert torch.equal(model.hf(ids).logits, base)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", EACH)
def test_contract_1_layers_that_a_plan_does_not_touch_compute_what_they_computed(name: str, dtype: str) -> None:
    model = families.get(name, dtype)
    ids, moe = families.ids(model), model.anatomy.moe_layers
    middle = moe[len(moe) // 2 - 1] if len(moe) > 2 else moe[0]
    base = watch(model, None, ids)
    a, b, *_ = base.layers[middle].busiest()
    changed = watch(model, Plan.off([(middle, a)]) | Plan.mute([(middle, b)]), ids)
    for layer in moe:
        before, after = base.layers[layer], changed.layers[layer]
        if layer <= middle:
            assert torch.equal(before.hidden, after.hidden), "a layer before the edit moved"
        if layer != middle:
            again = reference.block_of(model.hf, layer)(after.hidden.view(*ids.shape, -1))
            again = again[0] if isinstance(again, tuple) else again
            assert torch.equal(again.reshape(after.block.shape), after.block), (
                "not the layer's own function of its input"
            )
    assert not torch.equal(base.logits, changed.logits)


@pytest.mark.parametrize("name", EACH)
def test_contract_1_only_touched_layers_carry_hooks(name: str) -> None:
    model = families.get(name)
    first, *others = model.anatomy.moe_layers
    with steered(model, Plan.off([(first, 0)]) | Plan.mute([(first, 1)])):
        hung = hooks_of(model.hf)
        assert hung
        assert not [h for h in hung if any(f"layers.{n}." in h for n in others)]


@pytest.mark.parametrize("implementation", families.IMPLEMENTATIONS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", EACH)
def test_contract_1_recording_changes_no_logit(name: str, dtype: str, implementation: str) -> None:
    model = families.get(name, dtype)
    ids = families.ids(model)
    with families.implementation(model, implementation), torch.no_grad():
        base = model.hf(ids).logits
        with recording(model, keep=EVERYTHING) as recorder:
            assert torch.equal(model.hf(ids).logits, base)
            assert set(recorder.take().layers) == set(model.anatomy.moe_layers)


def test_contract_1_a_loaded_model_can_be_copied_saved_and_freed(tmp_path: Any) -> None:
    import gc
    import weakref

    hf = tiny_model("olmoe")
    model = load(hf)
    twin = copy.deepcopy(hf)
    torch.save(hf, tmp_path / "model.pt")
    ids = families.ids(model)
    back = torch.load(tmp_path / "model.pt", weights_only=False)
    with torch.no_grad():
        assert torch.equal(twin(ids).logits, hf(ids).logits)
        assert torch.equal(back(ids).logits, hf(ids).logits)
    freed = weakref.ref(hf)
    del hf, model, twin, back
    gc.collect()
    assert freed() is None, "load keeps the model alive for ever"
