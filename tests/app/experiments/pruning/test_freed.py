"""How many parameters a plan would free: counted from a model's own modules, tied weights not twice."""

import json
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from workbench_app.experiments.engine import Sizes
from workbench_app.experiments.recipe import recipe_from

from tests.support.recipes import recipe_data
from workbench import Plan, WorkbenchError, load
from workbench.survey import expert_parameters, parameters


def test_an_expert_of_a_tiny_model_has_the_parameters_of_its_own_config() -> None:
    model = load("tiny/olmoe")
    config = model.hf.config
    # gate, up and down of one expert: three matrices of hidden x intermediate
    one = 3 * config.hidden_size * config.intermediate_size
    assert expert_parameters(model.runtime) == dict.fromkeys(model.anatomy.moe_layers, one)
    seen: dict[int, int] = {}
    for weight in model.hf.parameters():
        seen[id(weight)] = weight.numel()
    assert parameters(model.runtime) == sum(seen.values())


@pytest.mark.parametrize("family", ["gpt_oss", "deepseek_v3", "qwen2_moe", "mixtral"])
def test_all_experts_of_a_model_are_what_it_has_more_than_with_none(family: str) -> None:
    """By the names of its parameters: whatever lies in a module called experts and is no shared one."""
    model = load(f"tiny/{family}")
    by_layer: dict[int, int] = {}
    for name, weight in model.hf.named_parameters():
        if ".experts." in name:
            layer = int(name.split(".layers.")[1].split(".")[0])
            by_layer[layer] = by_layer.get(layer, 0) + weight.numel()
    found = expert_parameters(model.runtime)
    assert {layer: n * model.anatomy.layer(layer).n_experts for layer, n in found.items()} == by_layer


def made(weights: dict[str, Any]) -> Any:
    """Two layers of four experts whose modules hold these parameters, and a head."""
    hf = torch.nn.Module()
    hf.layers = torch.nn.ModuleList()
    for _ in range(2):
        block = torch.nn.Module()
        block.experts = torch.nn.Module()
        for name, weight in weights.items():
            own = weight if isinstance(weight, torch.nn.Parameter) else torch.nn.Parameter(torch.zeros(weight))
            block.experts.register_parameter(name, own)
        hf.layers.append(block)
    hf.head = torch.nn.Linear(5, 7, bias=False)
    blocks = {
        n: SimpleNamespace(experts=hf.layers[n].experts, experts_name=f"layers.{n}.experts", adapter=None)
        for n in range(2)
    }
    anatomy = SimpleNamespace(layer=lambda _: SimpleNamespace(n_experts=4), model="made")
    return SimpleNamespace(hf=hf, layout=SimpleNamespace(blocks=blocks), anatomy=anatomy, adapter=None)


def test_what_is_tied_or_of_all_experts_is_not_freed() -> None:
    runtime = made({"up": (4, 5, 3), "bias": (4, 3), "scale": (9,)})
    assert expert_parameters(runtime) == {0: 18, 1: 18}
    assert parameters(runtime) == 2 * (60 + 12 + 9) + 35
    tied = made({"up": torch.nn.Parameter(torch.zeros(4, 5, 3)), "bias": (4, 3)})  # one weight in both layers
    assert expert_parameters(tied) == {0: 3, 1: 3}
    assert parameters(tied) == 60 + 2 * 12 + 35
    within = made({"gate": (4, 5, 3)})
    for layer in within.hf.layers:  # twice in one module: it goes with the expert, once
        layer.experts.register_parameter("up", layer.experts.gate)
    assert expert_parameters(within) == {0: 15, 1: 15}


def test_experts_behind_an_adapter_are_not_counted() -> None:
    runtime = made({"up": (4, 5, 3)})
    runtime.adapter = object()
    with pytest.raises(
        WorkbenchError, match="made routes through an adapter, which does not say where an expert's weights lie"
    ):
        expert_parameters(runtime)
    far: Any = SimpleNamespace(local=None)
    adapted: Any = SimpleNamespace(local=runtime)
    assert (Sizes.of(far), Sizes.of(adapted)) == (None, None)


SIZES = Sizes({1: 10, 2: 30}, 1000)


@pytest.mark.parametrize(
    ("plan", "freed"),
    [
        ("off L1E0; off L2E1", {"experts": 2, "parameters": 40, "share": 0.04}),
        ("off L1E0; drop L1E0", {"experts": 1, "parameters": 10, "share": 0.01}),
        ("mute L2E0", {"experts": 1, "parameters": 30, "share": 0.03}),
        ("off L1E0; scale L2E0=2", None),
        ("off L1E0 in generated", None),
        ("mute L1S0", None),
        ("nothing", None),
    ],
)
def test_what_a_plan_would_free(plan: str, freed: dict[str, Any] | None) -> None:
    assert SIZES.freed_by(Plan.parse(plan)) == freed
    assert Sizes.from_dict(json.loads(json.dumps(SIZES.to_dict()))) == SIZES
    assert Sizes.from_dict(None) is None


def test_before_rankings_are_made_a_recipe_knows_between_what() -> None:
    rankings = [{"name": "cats", "method": "usage", "prompts": "ranked"}]
    plans = [
        {"ranking": "cats", "end": ["least", "least_by_layer"], "n": [2, 4], "edit": ["off"]},
        {"ranking": "cats", "n": [3], "edit": ["force"]},
        {"ranking": "cats", "n": [3], "edit": ["mute"], "phase": "prompt"},
        {"text": "off L1E0", "name": "one"},
    ]
    recipe = recipe_from(recipe_data(plans=plans, rankings=rankings))
    # of any two at least twice 10 and at most twice 30; of each layer one: 10 + 30
    assert SIZES.planned(recipe) == {
        "P01": {"experts": 2, "at_least": 20, "at_most": 60},
        "P02": {"experts": 4, "at_least": 40, "at_most": 120},
        "P03": {"experts": 2, "at_least": 40, "at_most": 40},
        "P04": {"experts": 4, "at_least": 80, "at_most": 80},
    }
