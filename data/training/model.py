"""The model's shape, and its saving in half the bytes."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import PreTrainedTokenizerBase, Qwen3MoeConfig, Qwen3MoeForCausalLM

LAYERS, EXPERTS, TOP_K = 4, 32, 4


def build_model(tokenizer: PreTrainedTokenizerBase, seed: int) -> Qwen3MoeForCausalLM:
    """A random Qwen3-MoE of 4 layers x 32 experts, top-4: 128 routed experts, about 2.7 million parameters."""
    torch.manual_seed(seed)
    config = Qwen3MoeConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=256,
        moe_intermediate_size=48,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        num_key_value_heads=4,
        head_dim=32,
        num_experts=EXPERTS,
        num_experts_per_tok=TOP_K,
        norm_topk_prob=True,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )
    model = Qwen3MoeForCausalLM._from_config(config, experts_implementation="grouped_mm", dtype=torch.float32)
    return model


def experts_of(model: Qwen3MoeForCausalLM, layer: int) -> torch.nn.Module:
    """The module that holds a layer's 32 experts, with gate_up_proj and down_proj of shape [experts, ...]."""
    return model.model.layers[layer].mlp.experts


def router_of(model: Qwen3MoeForCausalLM, layer: int) -> torch.nn.Module:
    """The layer's router, with weight [experts, hidden]."""
    return model.model.layers[layer].mlp.gate


@torch.no_grad()
def round_to_bf16(model: Qwen3MoeForCausalLM) -> None:
    """Round every weight to what bf16 can hold, so that what is saved is what was measured."""
    for parameter in model.parameters():
        parameter.copy_(parameter.to(torch.bfloat16).to(torch.float32))


def save(model: Qwen3MoeForCausalLM, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Save weights as bf16 that are to be computed with as fp32 (config says so), with the tokenizer."""
    round_to_bf16(model)
    model.to(torch.bfloat16)
    model.save_pretrained(folder)
    model.to(torch.float32)
    model.config.dtype = torch.float32
    model.config.save_pretrained(folder)
    tokenizer.save_pretrained(folder, save_jinja_files=False)
    for file in folder.iterdir():
        file.chmod(0o644)
