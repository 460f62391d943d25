"""Adapters that are active belong to the model; wrappers' names do not. What is captured is the model of that moment."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support import families
from workbench import Plan, WorkbenchError, capture, compare, load, steered
from workbench.loading import tiny_model, tiny_tokenizer

peft = pytest.importorskip("peft")
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing", "ignore:Adapter name")
PROMPTS = ["The quick brown fox"]
EXPERTS: dict[str, Any] = {"target_parameters": ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]}
WHERE: dict[str, dict[str, Any]] = {
    "experts": EXPERTS,
    "router": {"target_parameters": ["mlp.gate.weight"]},
    "attention": {"target_modules": ["o_proj"]},
    "a whole module": {"target_modules": ["o_proj"], "modules_to_save": ["lm_head"]},
}


def config(r: int = 4, **where: Any) -> Any:
    return peft.LoraConfig(r=r, init_lora_weights=False, **where)


def tuned(name: str = "default", family: str = "olmoe", seed: int = 0, **where: Any) -> Any:
    """A PEFT model with weights that matter, the same for the same seed."""
    torch.manual_seed(seed)
    return peft.get_peft_model(tiny_model(family), config(**(where or EXPERTS)), adapter_name=name).eval()


def print_of(hf: Any) -> str:
    return load(hf, tiny_tokenizer(), check=False).anatomy.fingerprint


def sizes(store: Any) -> list[float]:
    frame = store.table("slots").sort_values(["prompt_id", "position", "layer", "slot"])
    return frame.output_l2.tolist()


@pytest.mark.parametrize("handle", ["outer", "inner"])
@pytest.mark.parametrize("family", ["olmoe", "qwen3_moe"])
def test_switched_off_it_is_the_bare_model(family: str, handle: str, tmp_path: Path) -> None:
    p = tuned(family=family)
    model = load(p if handle == "outer" else p.base_model.model, tiny_tokenizer())
    on = capture(model, PROMPTS, tmp_path / "on", progress=False)
    with p.disable_adapter():
        with pytest.raises(
            WorkbenchError, match=r"another set of active adapters \(\[\"default\"\] there, \[\] here\)"
        ):
            capture(model, PROMPTS, tmp_path / "on", progress=False)
        off = capture(model, PROMPTS, tmp_path / "off", progress=False)
    bare = capture(load(tiny_model(family), tiny_tokenizer()), PROMPTS, tmp_path / "bare", progress=False)
    assert off.anatomy.fingerprint == bare.anatomy.fingerprint != on.anatomy.fingerprint
    assert (on.anatomy.adapters, off.anatomy.adapters) == (("default",), ())
    assert sizes(off) == pytest.approx(sizes(bare), rel=1e-4)
    assert max(abs(a - b) / b for a, b in zip(sizes(on), sizes(bare), strict=True)) > 0.1
    assert capture(model, PROMPTS, tmp_path / "on", progress=False).anatomy.fingerprint == on.anatomy.fingerprint
    with pytest.raises(WorkbenchError, match=r"another set of active adapters \(\[\] there, \[\"default\"\] here\)"):
        capture(model, PROMPTS, tmp_path / "off", progress=False)


@pytest.mark.parametrize("where", WHERE)
def test_names_do_not_matter_and_places_do_not_either(where: str) -> None:
    p, bare = tuned(**WHERE[where]), print_of(tiny_model("olmoe"))
    on = print_of(p)
    assert on != bare
    assert print_of(p.base_model.model) == on, "the same weights through the other handle"
    assert print_of(tuned("another_name", **WHERE[where])) == on
    assert print_of(tuned(seed=1, **WHERE[where])) != on
    with p.disable_adapter():
        assert print_of(p) == print_of(p.base_model.model) == bare
    assert print_of(p) == on


def test_transformers_own_adapters_are_the_same() -> None:
    hf = tiny_model("olmoe")
    torch.manual_seed(0)
    hf.add_adapter(config(**EXPERTS))
    assert print_of(hf) == print_of(tuned())
    hf.disable_adapters()
    assert print_of(hf) == print_of(tiny_model("olmoe"))


def test_each_set_of_active_adapters_is_a_model() -> None:
    p = tuned("a")
    only_a = print_of(p)
    torch.manual_seed(3)
    p.add_adapter("b", config(2, **EXPERTS))
    assert print_of(p) == only_a, "one that is not active changes nothing"
    p.set_adapter("b")
    only_b = print_of(p)
    p.base_model.set_adapter(["a", "b"])
    both = load(p, tiny_tokenizer(), check=False).anatomy
    p.base_model.set_adapter(["b", "a"])
    assert print_of(p) == both.fingerprint
    assert both.adapters == ("a", "b")
    assert len({only_a, only_b, both.fingerprint, print_of(tiny_model("olmoe"))}) == 4


@pytest.mark.parametrize("how", ["weights", "factor", "merged", "trained base"])
def test_a_change_after_load_is_seen(how: str, tmp_path: Path) -> None:
    p = tuned()
    model = load(p, tiny_tokenizer())
    first = capture(model, PROMPTS, tmp_path / "first", progress=False)
    for name, parameter in p.named_parameters():
        if (how == "weights" and "lora_B" in name) or (how == "trained base" and name.endswith("q_proj.weight")):
            parameter.data.mul_(1.5)
    for module in p.modules():
        if how == "factor" and isinstance(module, peft.tuners.lora.LoraLayer):
            module.scaling["default"] *= 2
    if how == "merged":
        p.merge_adapter()
    with pytest.raises(WorkbenchError, match="begun with another model"):
        capture(model, PROMPTS, tmp_path / "first", progress=False)
    second = capture(model, PROMPTS, tmp_path / "second", progress=False)
    assert second.anatomy.fingerprint == print_of(p) != first.anatomy.fingerprint
    assert second.anatomy.adapters == ("default",)


@pytest.mark.filterwarnings("ignore:All adapters are already merged")
def test_merged_is_the_model_that_comes_out_of_it() -> None:
    p, other = tuned(), tuned()
    p.merge_adapter()
    assert print_of(p) == print_of(p.base_model.model) == print_of(other.merge_and_unload())
    with p.disable_adapter():  # whose first forward takes the adapter out of the weights
        first = print_of(p)
        assert print_of(p) == first


def test_a_plan_of_the_tuned_model_is_not_the_bare_ones(tmp_path: Path) -> None:
    p = tuned()
    model = load(p, tiny_tokenizer())
    plan = Plan.off("L1E2").for_model(model.anatomy)
    with steered(model, plan):
        pass
    with p.disable_adapter():
        with pytest.raises(WorkbenchError, match="made on another model"), steered(model, plan):
            raise AssertionError("entered")
        with pytest.raises(WorkbenchError, match="made on another model"):
            compare(model, PROMPTS, plan, metrics=("length",), controls=0, max_new_tokens=2, progress=False)
        with steered(model, Plan(plan.edits)) as inside:  # the edits alone say nothing of a model
            store = capture(model, PROMPTS, tmp_path / "off", progress=False)
    bare = load(tiny_model("olmoe"), tiny_tokenizer())
    assert store.steering == inside == Plan(plan.edits).for_model(bare.anatomy)
    assert 2 not in store.table("slots", ["expert"], [1]).expert.tolist()


def test_switched_inside_a_block_that_steers_is_refused(tmp_path: Path) -> None:
    p = tuned()
    model = load(p, tiny_tokenizer())
    with steered(model, Plan.off("L1E2")):
        with p.disable_adapter(), pytest.raises(WorkbenchError, match=r"was changed .* inside a block"):
            capture(model, PROMPTS, tmp_path / "s", progress=False)
        assert capture(model, PROMPTS, tmp_path / "s", progress=False).steering is not None


def test_an_adapter_on_the_experts_is_steered_in_each_state() -> None:
    """Put around the experts after loading, too: what is received follows the plan, with the adapter on and off."""
    hf = tiny_model("qwen3_moe")
    model = load(hf, tiny_tokenizer())
    p = peft.get_peft_model(hf, config(**EXPERTS)).eval()
    layer, ids = model.anatomy.moe_layers[-1], families.ids(model)
    inner = hf.model.layers[layer].mlp.experts.get_base_layer()
    seen: list[torch.Tensor] = []
    inner.register_forward_pre_hook(lambda _, args: seen.append(args[1]))
    for adapters in (True, False):
        if not adapters:
            p.base_model.disable_adapter_layers()
        for plan, gone in ((Plan(), False), (Plan.off([(layer, 4)]), True)):
            seen.clear()
            with steered(model, plan), torch.no_grad():
                hf(ids, use_cache=False)
            assert (4 not in seen[-1]) == gone
