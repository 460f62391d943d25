"""Models in vLLM and the same natively: bundled ones, and tiny ones of real classes that vLLM's CPU kernels can run.

Those want heads of 32 numbers at least, so the tiny configs have them here; the rest is the workbench's own.
"""

import os
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.real.weights import WANTED
from workbench import load
from workbench.backends import Backend, backend_of
from workbench.checkpoints import checkpoint_named, kept
from workbench.loading import tiny_model, tiny_tokenizer
from workbench.model import MoEModel
from workbench.serving.client import Vllm

_HEADS: dict[str, Any] = {"hidden_size": 128, "head_dim": 32}
# as DeepSeek's checkpoints have it: vLLM's CPU kernel for the plain form misreads the strides of a part of a head
_YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 1.0, "original_max_position_embeddings": 512}
_YARN |= {"beta_fast": 32, "beta_slow": 1, "mscale": 1.0, "mscale_all_dim": 1.0}
_MLA: dict[str, Any] = {"qk_nope_head_dim": 16, "qk_rope_head_dim": 16, "v_head_dim": 32, "head_dim": 16}
_MLA |= {"rope_parameters": _YARN}
# as granite-3.0-1b-a400m has them, for this head; scores that nothing divides would make large errors of small ones
_GRANITE = {
    "attention_multiplier": 1 / 32,
    "embedding_multiplier": 12.0,
    "residual_multiplier": 0.22,
    "logits_scaling": 6.0,
}
TINY: dict[str, dict[str, Any]] = {
    "mixtral": _HEADS,
    "qwen3_moe": _HEADS,
    "olmoe": _HEADS,
    "granitemoe": {**_HEADS, **_GRANITE},
    "gpt_oss": {**_HEADS, "intermediate_size": 64},
    "deepseek_v2": _MLA,
    "deepseek_v3": _MLA,
    "glm4_moe": {**_HEADS, "n_routed_experts": 16, "n_group": 4, "topk_group": 2},
}
_SAID = {"deepseek_v3": {"topk_method": "noaux_tc", "scoring_func": "sigmoid"}}
"""What checkpoints of the family say in their config and transformers does not ask for; vLLM does."""
FOLDER = TemporaryDirectory(prefix="workbench-serving-", ignore_cleanup_errors=True)
ENGINE: dict[str, Any] = {"max_model_len": 256, "kv_cache_memory_bytes": 64 << 20, "max_num_seqs": 64, "block_size": 32}


BUNDLED = ("demo", "smollm2-moe")
_LACKS = not kept(checkpoint_named("smollm2-moe"))["converted"] and not os.environ.get(WANTED)
NAMES = (
    "demo",
    pytest.param(
        "smollm2-moe", marks=pytest.mark.skipif(_LACKS, reason="`make real` fetches and converts its weights")
    ),
    *TINY,
)
"""Of every model that vLLM has to run as we do."""


@cache
def folder(name: str) -> str:
    """The checkpoint: a bundled one, or a tiny one written to a folder."""
    if name in BUNDLED:
        return name
    path = Path(FOLDER.name) / name
    made = tiny_model(name, **TINY[name])
    made.config.head_dim = TINY[name][
        "head_dim"
    ]  # transformers works it out where the config does not say it; vLLM reads it
    for field, value in _SAID.get(name, {}).items():
        setattr(made.config, field, value)
    made.save_pretrained(path)
    return str(path)


@cache
def native(name: str) -> MoEModel:
    return load(folder(name), None if name in BUNDLED else tiny_tokenizer(), device="cpu", check=False)


@cache
def served(name: str) -> MoEModel:
    """In vLLM; it stays there until the tests are over."""
    return load(folder(name), None if name in BUNDLED else tiny_tokenizer(), engine="vllm", **ENGINE)


def engine(name: str) -> Vllm:
    own: Backend = backend_of(served(name))
    return own.engine  # type: ignore[attr-defined]
