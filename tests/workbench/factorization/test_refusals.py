"""What no MoE architecture holds is refused in a sentence that names it, before any weights are read."""

from typing import Any

import pytest
import torch

from tests.workbench.factorization.families import dense_model, held
from workbench import WorkbenchError
from workbench.factorization import Groups, Router, Sizes, deal, rewrite

ODD: dict[str, tuple[str, dict[str, Any], str]] = {
    "post norms": ("gemma2", {"head_dim": 8}, "pre_feedforward_layernorm.*final_logit_softcapping"),
    "post norms and no caps": (
        "gemma2",
        {"head_dim": 8, "final_logit_softcapping": None, "attn_logit_softcapping": None},
        "post_feedforward_layernorm, which",
    ),
    "gemma 3": ("gemma3_text", {"head_dim": 8}, "pre_feedforward_layernorm"),
    "mlp biases": ("llama", {"mlp_bias": True}, r"mlp\.down_proj\.bias"),
    "bias of the output alone": ("llama", {"attention_bias": True}, r"self_attn.*a bias on k, o, q, v_proj"),
    "multipliers": ("granite", {"embedding_multiplier": 3.0, "residual_multiplier": 0.5}, "embedding_multiplier=3.0"),
    "layers without positions": ("smollm3", {"no_rope_layer_interval": 2}, "no_rope_layers"),
    "norms of whole queries": ("olmo2", {}, "self_attn.q_norm"),
    "rotation of pairs": ("ernie4_5", {"head_dim": 8}, "computes something that the names"),
    "parallel attention": ("cohere", {}, "rms_norm_eps"),
}


@pytest.mark.parametrize("what", ODD)
def test_what_no_architecture_holds_is_named(what: str) -> None:
    family, config, words = ODD[what]
    dense = dense_model(family, **config)
    with pytest.raises(WorkbenchError, match=words):
        rewrite(dense, [deal(64, 6, 2, i) for i in range(3)], None, 6)


def test_biases_of_zeros_change_nothing() -> None:
    dense = dense_model("llama", attention_bias=True, mlp_bias=True)
    for name, weight in dense.named_parameters():
        if ("mlp" in name and name.endswith("bias")) or name.endswith("o_proj.bias"):
            weight.data.zero_()
    made = rewrite(dense, [deal(64, 6, 2, i) for i in range(3)], None, 6)
    ids = torch.arange(12)[None]
    with torch.no_grad():
        assert (made(ids).logits - dense(ids).logits).abs().max() < 1e-3


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        (Sizes(7, 2, 4), "would do: 3, 4, 6, 12"),
        (Sizes(4, 3, 1), "leave 1 routed"),
        (Sizes(8, 2, 7), "cannot get 7 of 6"),
        (Sizes(8, 2, 0), "cannot get 0 of 6"),
    ],
)
def test_sizes_that_cannot_be_are_refused_with_those_that_can(sizes: Sizes, words: str) -> None:
    with pytest.raises(WorkbenchError, match=words):
        sizes.check(96)


def test_groups_hold_each_neuron_once() -> None:
    dense = held("llama")
    good = deal(64, 6, 2, 0)
    twice = good.routed.clone()
    twice[0, 0] = twice[1, 0]
    for wrong in (
        Groups(twice, good.shared),
        Groups(good.routed, good.shared[:-1]),
        Groups(good.routed + 1, good.shared),
    ):
        with pytest.raises(WorkbenchError, match=r"layer 1|Layer 1"):
            rewrite(dense, [good, wrong, good], None, 6)


def test_kept_neurons_lie_in_expert_zero() -> None:
    groups = deal(64, 6, 2, 3, kept=(5, 60))
    assert {5, 60} <= set(groups.routed[0].tolist())
    assert sorted([*groups.routed.reshape(-1).tolist(), *groups.shared.tolist()]) == list(range(64))
    with pytest.raises(WorkbenchError, match="9 neurons"):
        deal(64, 6, 2, 3, kept=range(9))


def test_routers_are_refused_where_the_architecture_has_a_softmax() -> None:
    dense = held("mistral, window shorter than the text")
    routers = [Router(torch.zeros(6, 32), torch.zeros(6))] * 3
    with pytest.raises(WorkbenchError, match=r"qwen2_moe.*--exact"):
        rewrite(dense, [deal(64, 6, 2, i) for i in range(3)], routers, 4)
