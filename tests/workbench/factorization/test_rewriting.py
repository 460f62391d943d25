"""A rewritten model computes what the dense one computes, in an architecture of transformers, family by family."""

from typing import Any

import pytest
import torch

from tests.workbench.factorization.families import HELD, held
from workbench import Plan, load, steered
from workbench.anatomy import RoutingRule
from workbench.factorization import Sizes, deal, rewrite
from workbench.loading import tiny_tokenizer

SIZES = Sizes(8, 2, 6)


def dealt(dense: Any, sizes: Sizes = SIZES) -> list[Any]:
    config = dense.config
    return [
        deal(config.intermediate_size, sizes.routed, sizes.shared, seed) for seed in range(config.num_hidden_layers)
    ]


@torch.no_grad()
@pytest.mark.parametrize("name", ["llama", "qwen2, windows"])
def test_there_may_be_no_shared_expert(name: str) -> None:
    dense, sizes = held(name), Sizes(8, 0, 8)
    made = rewrite(dense, dealt(dense, sizes), None, 8)
    ids = torch.arange(24)[None]
    assert (made(ids).logits - dense(ids).logits).abs().max() < 1e-3
    assert {layer.n_experts for layer in load(made, tiny_tokenizer()).anatomy.layers} == {8}


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("llama", RoutingRule("sigmoid", renormalise=False, correction_bias=True, scaling=2.0)),
        ("qwen3, windows", RoutingRule("sigmoid", renormalise=False, correction_bias=True, scaling=2.0)),
        ("qwen2, windows", RoutingRule("softmax", renormalise=False)),
    ],
)
def test_the_rule_of_a_router_of_zeros_is_its_codes_own(name: str, rule: RoutingRule) -> None:
    """Equal logits fit many rules, which part where an edit changes one logit."""
    dense = held(name)
    model = load(rewrite(dense, dealt(dense), None, 6), tiny_tokenizer())
    layer = model.anatomy.layer(1)
    assert layer.rule is not None
    assert (layer.rule.score, layer.rule.correction_bias) == (rule.score, rule.correction_bias)
    assert layer.rule.scaling == pytest.approx(rule.scaling)
    assert layer.rule.renormalise == rule.renormalise or rule.score == "softmax"  # of all experts the two are one
    ids, block = torch.arange(12)[None], model.hf.model.layers[1].mlp
    with steered(model, Plan.bias("L1E2", 1.5)):
        changed = model.hf(ids).logits
    gate = block.gate.forward

    def biased(hidden: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The answer of the formula under a logit that is 1.5 higher."""
        logits, weights, index = gate(hidden)
        logits = logits.clone()
        logits[:, 2] += 1.5
        score = logits.sigmoid() * 2 if rule.score == "sigmoid" else logits.softmax(-1)
        return logits, score.gather(1, index).to(weights), index

    block.gate.forward = biased
    wanted = model.hf(ids).logits
    del block.gate.forward
    assert (model.hf(ids).logits - wanted).abs().max() > 1e-2
    assert torch.allclose(changed, wanted, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("name", HELD)
def test_the_rewrite_is_the_same_function_in_an_architecture_of_transformers(name: str) -> None:
    dense = held(name)
    made = rewrite(dense, dealt(dense), None, 6)
    assert made.config.model_type == HELD[name][1]
    ids = torch.randint(0, 96, (2, 24), generator=torch.Generator().manual_seed(0))
    wanted = dense(ids).logits
    assert wanted.std() > 0.1  # there is something to be wrong about
    assert (made(ids).logits - wanted).abs().max() < 1e-3
    mask = torch.ones_like(ids)
    mask[0, :7] = 0  # padding on the left
    apart = made(ids, attention_mask=mask).logits - dense(ids, attention_mask=mask).logits
    assert apart[:, 7:].abs().max() < 1e-3
