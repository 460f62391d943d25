"""The real models, read once for all tests of this folder."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from tests.real.texts import HELD_OUT
from tests.real.weights import GEMMA3, SMOLLM2, read


@pytest.fixture(scope="session")
def smollm2() -> tuple[Any, Any]:
    return read(SMOLLM2)


@pytest.fixture(scope="session")
def gemma3() -> tuple[Any, Any]:
    return read(GEMMA3)


@pytest.fixture(scope="session")
def loss() -> Callable[[Any, Any], float]:
    """Nats a token on the texts held out, of a transformers model and its tokenizer."""
    return _loss


@torch.no_grad()
def _loss(model: Any, tokenizer: Any) -> float:
    total, n = 0.0, 0
    for text in HELD_OUT:
        ids = tokenizer(text, return_tensors="pt").input_ids
        logits = model(ids).logits[0, :-1].float()
        total += float(torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="sum"))
        n += ids.shape[1] - 1
    return total / n
