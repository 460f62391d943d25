"""The floating point in which this processor multiplies faster: bfloat16 with matrix units, on others often float32."""

import time
from functools import cache

import torch

_TIMES = 20


@cache
def quicker() -> torch.dtype:
    """Of products as the model has them; what is learnt lies in float32 either way, and hangs little on it."""
    return min((torch.bfloat16, torch.float32), key=_seconds)


@torch.no_grad()
def _seconds(dtype: torch.dtype) -> float:
    x, weight = torch.ones(512, 576, dtype=dtype), torch.ones(576, 1536, dtype=dtype)
    found: list[float] = []
    for _ in range(_TIMES):
        start = time.perf_counter()
        x @ weight
        found.append(time.perf_counter() - start)
    return min(found)
