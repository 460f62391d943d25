"""Tiny random models of real classes: `load("tiny/olmoe")`. For tests and for trying things offline; never a result.

Every family is built from its own transformers classes with a small config: random weights, a correction bias that really
decides (where the family has one), a dense first layer and groups (where it has them).
"""

from typing import Any

import torch

from workbench.errors import WorkbenchError, suggestion

_SIZES: dict[str, Any] = {
    "vocab_size": 384,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "moe_intermediate_size": 24,
    "max_position_embeddings": 512,
    "num_experts_per_tok": 3,
    "pad_token_id": 0,
    "bos_token_id": None,
    "eos_token_id": 1,
    "tie_word_embeddings": False,
}
_MLA: dict[str, Any] = {
    "n_routed_experts": 16,
    "num_local_experts": 16,
    "num_key_value_heads": 4,
    "first_k_dense_replace": 1,
    "q_lora_rank": None,
    "kv_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
    "n_group": 4,
    "topk_group": 2,
}

# what each family's config says beyond the sizes; a correction bias starts at zero and is drawn below
FAMILIES: dict[str, dict[str, Any]] = {
    "mixtral": {"num_local_experts": 8, "intermediate_size": 24},
    "olmoe": {"num_experts": 16, "intermediate_size": 24},
    "qwen2_moe": {"num_experts": 16, "shared_expert_intermediate_size": 40, "decoder_sparse_step": 1},
    "qwen3_moe": {"num_experts": 16, "mlp_only_layers": [0], "norm_topk_prob": True, "head_dim": 8},
    "gpt_oss": {"num_local_experts": 8, "intermediate_size": 24, "head_dim": 8, "layer_types": ["full_attention"] * 3},
    "deepseek_v2": _MLA | {"topk_method": "group_limited_greedy", "routed_scaling_factor": 2.0, "n_shared_experts": 1},
    "deepseek_v3": _MLA | {"routed_scaling_factor": 2.5, "n_shared_experts": 1, "norm_topk_prob": True},
    "granitemoe": {"num_local_experts": 8, "intermediate_size": 24},
    "glm4_moe": {
        "n_routed_experts": 16,
        "num_local_experts": 16,
        "first_k_dense_replace": 1,
        "n_shared_experts": 1,
        "n_group": 4,
        "topk_group": 2,
        "head_dim": 8,
    },
    "ernie4_5_moe": {
        "moe_num_experts": 16,
        "moe_k": 3,
        "moe_num_shared_experts": 1,
        "moe_layer_start_index": 1,
        "moe_layer_interval": 1,
        "moe_layer_end_index": 2,
    },
    "minimax_m2": {"num_local_experts": 16, "intermediate_size": 24, "head_dim": 8},
}


def tiny_model(family: str, *, seed: int = 0, dtype: torch.dtype = torch.float32, **config: Any) -> Any:
    """A random transformers model of `family` with 2 or 3 MoE layers, about 50 thousand parameters, in eval mode."""
    from transformers import AutoConfig, AutoModelForCausalLM

    if family not in FAMILIES:
        raise WorkbenchError(
            f"There is no tiny model '{family}'{suggestion(family, list(FAMILIES)) or ';'} it can be {', '.join(FAMILIES)}."
        )
    settings = AutoConfig.for_model(family, **(_SIZES | FAMILIES[family] | config))
    settings.name_or_path = f"tiny/{family}"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(settings, dtype=dtype).eval()
        _make_lively(model)
    return model


@torch.no_grad()
def _make_lively(model: Any) -> None:
    """Random weights wide enough that routing varies between tokens, experts matter, and correction biases decide."""
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if "correction_bias" in name:
            tensor.copy_(0.3 * torch.randn(tensor.shape))
        elif name.endswith("sinks") or (tensor.ndim == 1 and name.endswith("bias")):
            tensor.copy_(0.1 * torch.randn(tensor.shape))
        elif tensor.ndim >= 2 and "rotary" not in name:
            tensor.copy_(torch.randn(tensor.shape) * (1.0 if "embed" in name else 2.0 * tensor.shape[-1] ** -0.5))


def tiny_tokenizer() -> Any:
    """A byte tokenizer with a chat template: nothing is downloaded, every text is representable."""
    from transformers import ByT5Tokenizer

    tokenizer = ByT5Tokenizer(extra_ids=125)
    tokenizer.chat_template = (
        "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}\n{% endfor %}"
        "{% if add_generation_prompt %}[assistant] {% endif %}"
    )
    return tokenizer
