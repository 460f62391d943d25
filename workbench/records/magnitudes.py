"""How large is a vector: L2 norm, largest absolute value and its channel, median. The reductions that capture pays for.

On the CPU numpy's argmax and partition are used, on as many rows at a time as a core's cache holds: on 16,384 x 512 floats
torch's `abs().max(-1)` took 19 ms (one core), numpy's argmax of all absolute values 17 ms, by the cacheful 3 ms; torch's
median of 2,048 x 512 took 9 ms, numpy's partition 3 ms.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

_ROWS = 512  # rows a chunk of the median: what a core's cache holds
_CACHED = 2**16  # values whose sizes are looked at together: what a core's cache holds
VALUES_AT_ONCE = 2**20  # values a chunk: what narrow floats are widened by at a time


class Magnitude(NamedTuple):
    """L2 norm (float32), largest absolute value (float32) and its channel (int32), each of shape [rows]."""

    l2: Tensor
    max_abs: Tensor
    argmax: Tensor


def magnitude(vectors: Tensor) -> Magnitude:
    """Magnitudes of `vectors` [rows, width], accumulated in float32; of ties the first channel."""
    vectors = vectors.detach()
    if vectors.device.type != "cpu":
        size = vectors.float().abs()
        largest = size.max(-1)
        return Magnitude(torch.linalg.vector_norm(size, dim=-1), largest.values, largest.indices.int())
    rows = max(1, VALUES_AT_ONCE // max(1, vectors.shape[-1]))
    parts = [_host_magnitude(part.float()) for part in vectors.split(rows)]
    return parts[0] if len(parts) == 1 else Magnitude(*(torch.cat(column) for column in zip(*parts, strict=True)))


def _host_magnitude(part: Tensor) -> Magnitude:
    values, n = part.numpy(), len(part)
    largest, channel = np.empty(n, np.float32), np.empty(n, np.int32)
    step = max(1, _CACHED // max(1, part.shape[-1]))
    sizes = np.empty((min(step, n), part.shape[-1]), np.float32)
    for start in range(0, n, step):
        rows = slice(start, start + step)
        size = np.abs(values[rows], out=sizes[: len(values[rows])])
        channel[rows] = size.argmax(1)
        largest[rows] = size[np.arange(len(size)), channel[rows]]
    return Magnitude(torch.linalg.vector_norm(part, dim=-1), torch.from_numpy(largest), torch.from_numpy(channel))


def median_abs(vectors: Tensor) -> Tensor:
    """The lower median of absolute values of each row of `vectors` [rows, width], float32."""
    vectors = vectors.detach().float()
    if vectors.device.type != "cpu":
        return vectors.abs().median(-1).values
    middle = (vectors.shape[-1] - 1) // 2
    parts = [np.partition(np.abs(p.numpy()), middle, axis=1)[:, middle] for p in vectors.split(_ROWS)]
    return torch.from_numpy(np.concatenate(parts)) if parts else vectors.new_zeros(0)


def routed_change(residual: Tensor, routed: Tensor, multiplier: float = 1.0) -> Tensor:
    """1 - cosine of the residual before and after the routed sum, [rows], float32, computed in float64 (EASY-EP, s[l,t]).

    `residual` [rows, hidden] before the layer's MoE norm, `routed` the routed experts' sum (shared experts excluded), which
    the layer adds times `multiplier`. Between 0 and 2; 0 where either vector is zero, NaN where either is not finite.
    """
    before, step = residual.detach().double(), routed.detach().double() * multiplier
    xx, xr, rr = (before * before).sum(-1), (before * step).sum(-1), (step * step).sum(-1)
    norms = (xx * (xx + 2 * xr + rr)).clamp_min(0).sqrt()
    # asked of zero, not of more than zero: a NaN is neither, and must not pass for "nothing changed"
    cosine = torch.where(norms == 0, 1.0, (xx + xr) / norms.clamp_min(torch.finfo(torch.float64).tiny))
    return (1 - cosine).clamp(0, 2).float()
