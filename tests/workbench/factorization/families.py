"""Tiny random dense models of the families, by a name that says what is particular."""

from typing import Any

import torch

SIZES: dict[str, Any] = {
    "vocab_size": 96,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 256,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
YARN = {"rope_type": "yarn", "rope_theta": 500.0, "factor": 4.0, "original_max_position_embeddings": 64}
WINDOWS = {"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 1}
HELD: dict[str, tuple[str, str, dict[str, Any]]] = {
    "llama": ("llama", "glm4_moe", {}),
    "llama, tied": ("llama", "glm4_moe", {"tie_word_embeddings": True}),
    "llama, odd head_dim": ("llama", "glm4_moe", {"head_dim": 14}),
    "llama, llama3 rope": ("llama", "glm4_moe", {"rope_parameters": LLAMA3}),
    "llama, yarn": ("llama", "glm4_moe", {"rope_parameters": YARN}),
    "llama, dynamic rope": (
        "llama",
        "glm4_moe",
        {
            "rope_parameters": {"rope_type": "dynamic", "rope_theta": 500.0, "factor": 2.0},
            "max_position_embeddings": 16,
        },
    ),
    "qwen2": ("qwen2", "glm4_moe", {}),
    "qwen2, tied": ("qwen2", "glm4_moe", {"tie_word_embeddings": True}),
    "qwen2, windows": ("qwen2", "qwen2_moe", WINDOWS),
    "qwen3": ("qwen3", "glm4_moe", {"head_dim": 16}),
    "qwen3, all biases": ("qwen3", "dots1", {"head_dim": 16, "attention_bias": True}),
    "qwen3, windows": ("qwen3", "dots1", {"head_dim": 10, **WINDOWS}),
    "mistral": ("mistral", "glm4_moe", {"sliding_window": None, "head_dim": 10}),
    "mistral, window shorter than the text": ("mistral", "qwen2_moe", {"sliding_window": 5, "head_dim": 10}),
    "mistral, window longer than the text": ("mistral", "qwen2_moe", {"sliding_window": 100}),
    "gemma": ("gemma", "glm4_moe", {"head_dim": 16}),
    "gemma, untied": ("gemma", "glm4_moe", {"head_dim": 16, "tie_word_embeddings": False}),
}
"""By what is particular: the family, the architecture that holds it, and its config beside SIZES."""


@torch.no_grad()
def dense_model(family: str, **config: Any) -> Any:
    """A random dense model in eval mode whose norms and biases are away from what they begin with."""
    from transformers import AutoConfig, AutoModelForCausalLM

    settings = AutoConfig.for_model(family, **{**SIZES, **config})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = AutoModelForCausalLM.from_config(settings, dtype=torch.float32).eval()
        for name, weight in model.named_parameters():
            if weight.ndim == 1:
                weight.add_(0.3 * torch.randn(weight.shape))
            else:
                weight.copy_(torch.randn(weight.shape) * (1.0 if "embed" in name else weight.shape[-1] ** -0.5))
    return model


def held(name: str, **more: Any) -> Any:
    """One of HELD, with more in its config."""
    family, _, config = HELD[name]
    return dense_model(family, **{**config, **more})


def byte_tokenizer() -> Any:
    """A fast tokenizer of bytes with a chat template; ids below 320."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    names = ["<pad>", "<s>", "</s>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    made = Tokenizer(models.BPE({name: i for i, name in enumerate(names)}, []))
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, pad_token="<pad>", bos_token="<s>", eos_token="</s>")
    tokenizer.chat_template = "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}{% endfor %}"
    return tokenizer
