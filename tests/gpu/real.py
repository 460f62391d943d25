"""Models of the real shapes with random weights, made where they will run: nothing is downloaded, nothing is copied."""

from typing import Any

import torch

# the published configs; 'small' divides widths, experts and vocabulary for the CPU and keeps what routes: top-k, rule, norms
SHAPES: dict[str, dict[str, Any]] = {
    "olmoe": {  # allenai/OLMoE-1B-7B-0924
        "vocab_size": 50304, "hidden_size": 2048, "intermediate_size": 1024, "num_hidden_layers": 16,
        "num_attention_heads": 16, "num_key_value_heads": 16, "num_experts": 64, "num_experts_per_tok": 8,
        "norm_topk_prob": False,
    },
    "qwen3_moe": {  # Qwen/Qwen3-30B-A3B: 61 GB in bf16
        "vocab_size": 151936, "hidden_size": 2048, "intermediate_size": 6144, "moe_intermediate_size": 768,
        "num_hidden_layers": 48, "num_attention_heads": 32, "num_key_value_heads": 4, "head_dim": 128,
        "num_experts": 128, "num_experts_per_tok": 8, "norm_topk_prob": True, "decoder_sparse_step": 1,
    },
}  # fmt: skip
SMALL: dict[str, Any] = {
    "vocab_size": 384, "hidden_size": 64, "intermediate_size": 32, "moe_intermediate_size": 32, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 16, "num_experts": 16,
}  # fmt: skip
RESERVE = 8 << 30  # bytes of the device left to activations
TOKENS = {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": None, "tie_word_embeddings": False}


def config_of(name: str, *, layers: int | None, small: bool) -> Any:
    from transformers import AutoConfig

    fields = SHAPES[name] | ({k: v for k, v in SMALL.items() if k in SHAPES[name]} if small else {}) | TOKENS
    fields |= {} if layers is None else {"num_hidden_layers": layers}
    return AutoConfig.for_model(name, **fields)


def n_bytes(config: Any, dtype: torch.dtype) -> int:
    """What the weights of a model of this config take."""
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        return sum(p.numel() for p in AutoModelForCausalLM.from_config(config).parameters()) * dtype.itemsize


def fitting(name: str, device: str, dtype: torch.dtype) -> Any:
    """The real config, with as many of its layers as the device's free memory holds."""
    config = config_of(name, layers=None, small=False)
    free = torch.cuda.mem_get_info()[0] - RESERVE if device == "cuda" else 0
    whole, empty = (n_bytes(config_of(name, layers=n, small=False), dtype) for n in (config.num_hidden_layers, 0))
    each = (whole - empty) // config.num_hidden_layers
    config.num_hidden_layers = min(config.num_hidden_layers, (free - empty) // each)
    return config


@torch.no_grad()
def random_model(config: Any, device: str, dtype: torch.dtype, seed: int = 0) -> Any:
    """Random weights made on the device, wide enough that routing varies between tokens and experts matter."""
    from transformers import AutoModelForCausalLM

    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            model = AutoModelForCausalLM.from_config(config, dtype=dtype).eval()
    finally:
        torch.set_default_dtype(before)
    generator = torch.Generator(device).manual_seed(seed)
    for name, tensor in model.named_parameters():
        if tensor.ndim >= 2:
            wide = (
                1.0
                if "embed" in name
                else (2.0 if "experts" in name or "gate" in name else 1.0) * tensor.shape[-1] ** -0.5
            )
            tensor.normal_(0, wide, generator=generator)
    return model
