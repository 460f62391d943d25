"""The models that the contracts are tested on: tiny random ones of eleven real classes, and the bundled one. Built once each."""

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import pytest
import torch

from workbench import load
from workbench.loading import tiny_model, tiny_tokenizer
from workbench.model import MoEModel

FAMILIES = (
    "mixtral",
    "olmoe",
    "qwen2_moe",
    "qwen3_moe",
    "gpt_oss",
    "deepseek_v2",
    "deepseek_v3",
    "granitemoe",
    "glm4_moe",
    "ernie4_5_moe",
    "minimax_m2",
)
MODELS = (*FAMILIES, "demo")
CORRECTED = ("deepseek_v3", "glm4_moe", "ernie4_5_moe", "minimax_m2")
GROUPED = ("deepseek_v2", "deepseek_v3", "glm4_moe")
SHARED = ("qwen2_moe", "deepseek_v2", "deepseek_v3", "glm4_moe", "ernie4_5_moe")
DTYPES = ("float32", "bfloat16")
# a plain softmax, a biased sigmoid with groups, the bundled one: what the quick tier runs where every model is too much
QUICK = ("mixtral", "deepseek_v3", "demo")
IMPLEMENTATIONS = ("eager", "batched_mm", "grouped_mm")


def slow(values: Iterable[Any], but: Collection[Any]) -> list[Any]:
    """Parameters for `parametrize`: all but `but` are left to the full tier."""
    return [v if v in but else pytest.param(v, marks=pytest.mark.slow) for v in values]


# every model: QUICK and one with biases in the quick tier, the others in the full one
EACH = slow(MODELS, but=(*QUICK, "gpt_oss"))


@cache
def get(name: str, dtype: str = "float32") -> MoEModel:
    """The shared model: nobody changes its weights or its config. CPU, checked at load."""
    return load(name if name == "demo" else f"tiny/{name}", device="cpu", dtype=dtype)


def build(name: str, dtype: str = "float32", **config: Any) -> MoEModel:
    """A model of one's own, with other config values, to do anything with."""
    return load(tiny_model(name, dtype=getattr(torch, dtype), **config), tiny_tokenizer())


def ids(model: MoEModel, batch: int = 2, length: int = 12, seed: int = 0) -> torch.Tensor:
    """Pseudo-random token ids without padding and end tokens, [batch, length]."""
    g = torch.Generator().manual_seed(seed)
    return torch.randint(10, model.anatomy.vocab_size, (batch, length), generator=g)


def moe_layer(model: MoEModel, which: int = -1) -> int:
    """One of the layers that route; the last unless said."""
    return model.anatomy.moe_layers[which]


@contextmanager
def implementation(model: MoEModel, name: str) -> Iterator[None]:
    """The experts implementation `name` while open, whatever the config said."""
    before = model.hf.config._experts_implementation
    model.hf.set_experts_implementation(name)
    try:
        yield
    finally:
        model.hf.set_experts_implementation(before)
