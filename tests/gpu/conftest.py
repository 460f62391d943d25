"""Where and how large the tests of this folder run: real shapes on CUDA, or with one switch small ones on the CPU.

On a CUDA device, with torch, transformers, pyarrow, pandas and pytest alone: `python -m pytest tests/gpu -m gpu`. The same
code, small, where there is none: `WORKBENCH_GPU_TESTS=cpu python -m pytest tests/gpu -m gpu`.
"""

import os
from dataclasses import dataclass
from typing import Any

import pytest
import torch

SMALL = os.environ.get("WORKBENCH_GPU_TESTS") == "cpu"


@dataclass(frozen=True)
class Scale:
    """Where and how large."""

    device: str
    dtype: torch.dtype
    layers: int | None
    """How many layers of the real model; None for all of them."""
    small: bool


@pytest.fixture(scope="session")
def scale() -> Scale:
    if SMALL:
        return Scale("cpu", torch.bfloat16, 2, True)
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device here (WORKBENCH_GPU_TESTS=cpu runs these tests small on the CPU)")
    return Scale("cuda", torch.bfloat16, None, False)


@pytest.fixture(autouse=True)
def _memory(request: pytest.FixtureRequest) -> Any:
    """What a test held is given back to the device before the next."""
    yield
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
