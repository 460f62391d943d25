"""What is timed: (a) a random Qwen3-MoE as the issue describes it, (b) the bundled model."""

from typing import Any

import torch

from workbench import load
from workbench.model import MoEModel


def random_qwen3(layers: int = 8, experts: int = 64, top_k: int = 8, hidden: int = 512, width: int = 256) -> MoEModel:
    """(a) 8 layers, hidden 512, 64 experts, top-8, expert width 256, fp32; or another shape."""
    from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

    from workbench.loading import tiny_tokenizer

    config = Qwen3MoeConfig(
        vocab_size=1024,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=8,
        num_key_value_heads=4,
        head_dim=64,
        intermediate_size=1024,
        moe_intermediate_size=width,
        num_experts=experts,
        num_experts_per_tok=top_k,
        norm_topk_prob=True,
        max_position_embeddings=1024,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=None,
    )
    config.name_or_path = "random-qwen3-moe"
    torch.manual_seed(0)
    model = Qwen3MoeForCausalLM(config).eval()
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if tensor.ndim >= 2:
                tensor.copy_(torch.randn(tensor.shape) * (1.0 if "embed" in name else tensor.shape[-1] ** -0.5))
    return load(model, tiny_tokenizer())


def demo() -> MoEModel:
    """(b) the bundled model."""
    return load("demo")


def token_ids(model: MoEModel, batch: int, length: int, seed: int = 0) -> Any:
    """Random token ids [batch, length]."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(3, min(384, model.anatomy.vocab_size), (batch, length), generator=generator)
