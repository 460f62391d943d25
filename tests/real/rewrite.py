"""A dense Llama as a mixture of experts that computes the same function: neurons dealt into groups, every expert always on.

glm4_moe holds it exactly: a router of zeros gives sigmoid(0) = 1/2, times `routed_scaling_factor` 2 is a weight of 1.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


def as_experts(
    dense: Any, experts: int, shared: int = 1, seed: int = 0, kept: Mapping[int, list[int]] | None = None
) -> Any:
    """glm4_moe with `experts` routed groups and `shared` of the same size in its shared expert, in eval mode.

    kept: by layer, neurons that are to lie in routed expert 0 together; the others are dealt by `seed`.
    """
    from transformers import Glm4MoeConfig, Glm4MoeForCausalLM

    old = dense.config
    size = old.intermediate_size // (experts + shared)
    assert size * (experts + shared) == old.intermediate_size, "the groups are of one size"
    same = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim")
    more = ("hidden_act", "max_position_embeddings", "rms_norm_eps", "attention_bias", "tie_word_embeddings")
    config = Glm4MoeConfig(
        **{name: getattr(old, name) for name in (*same, *more)},
        rope_parameters={**old.rope_parameters, "partial_rotary_factor": 1.0},
        use_qk_norm=False,
        intermediate_size=size,
        moe_intermediate_size=size,
        n_routed_experts=experts,
        num_experts_per_tok=experts,
        n_shared_experts=shared,
        first_k_dense_replace=0,
        n_group=1,
        topk_group=1,
        norm_topk_prob=False,
        routed_scaling_factor=2.0,
        **{name: getattr(old, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")},
    )
    with torch.device("meta"):
        made = Glm4MoeForCausalLM(config)
    state = {name: tensor for name, tensor in dense.state_dict().items() if ".mlp." not in name}
    for layer in range(old.num_hidden_layers):
        neurons = order(old.intermediate_size, seed + 1000 * layer, (kept or {}).get(layer, []))
        state |= _experts(dense.model.layers[layer].mlp, f"model.layers.{layer}.mlp.", neurons, experts, size)
    made.load_state_dict(state, strict=True, assign=True)
    made.model.rotary_emb = type(made.model.rotary_emb)(config)  # its buffers are not in the state
    made.tie_weights()
    return made.to(torch.float32).eval()


def order(neurons: int, seed: int, first: list[int]) -> Tensor:
    """Every neuron once: `first`, then the others at random."""
    drawn, put = torch.randperm(neurons, generator=torch.Generator().manual_seed(seed)), torch.tensor(first).long()
    return torch.cat([put, drawn[~torch.isin(drawn, put)]])


def _experts(mlp: Any, at: str, neurons: Tensor, experts: int, size: int) -> dict[str, Tensor]:
    gate, up, down = mlp.gate_proj.weight[neurons], mlp.up_proj.weight[neurons], mlp.down_proj.weight[:, neurons].T
    routed = experts * size
    both = torch.cat([x[:routed].reshape(experts, size, -1) for x in (gate, up)], dim=1)
    return {
        at + "gate.weight": torch.zeros(experts, gate.shape[1]),
        at + "gate.e_score_correction_bias": torch.zeros(experts),
        at + "experts.gate_up_proj": both,
        at + "experts.down_proj": down[:routed].reshape(experts, size, -1).transpose(1, 2).contiguous(),
        at + "shared_experts.gate_proj.weight": gate[routed:],
        at + "shared_experts.up_proj.weight": up[routed:],
        at + "shared_experts.down_proj.weight": down[routed:].T.contiguous(),
    }
