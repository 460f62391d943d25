"""How large is a vector: L2 norm, largest absolute value and its channel, median. The reductions that capture pays for.

On the CPU the largest value is looked for among the bits of the floats, as integers, where torch finds maximum and channel twice
as fast. All three numbers of 16,384 x 128 take 2.7 ms with two threads; 4.1 by numpy's argmax and argmin. Medians are numpy's
partition: 2,048 x 512 took 9 ms in torch and 3 there.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

_ROWS = 512  # rows a chunk of the median: what a core's cache holds
VALUES_AT_ONCE = 2**18  # values a chunk: with their copies, what the cores' caches hold
_SIZE_BITS = 0x7FFFFFFF  # of a float32, all but its sign


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
    n, width = vectors.shape
    l2 = torch.zeros(n, dtype=torch.float32)  # whatever torch's default is here
    bits, channel = torch.zeros(n, dtype=torch.int32), torch.zeros(n, dtype=torch.int64)
    rows = max(1, VALUES_AT_ONCE // max(1, width))
    copy = torch.empty(min(n, rows), width, dtype=torch.int32)
    for start in range(0, n if width else 0, rows):
        at = slice(start, min(start + rows, n))
        part = vectors[at].float().contiguous()
        torch.linalg.vector_norm(part, dim=-1, out=l2[at])
        # the bits of a float without its sign are ordered as its size is
        unsigned = torch.bitwise_and(part.view(torch.int32), _SIZE_BITS, out=copy[: len(part)])
        torch.max(unsigned, -1, out=(bits[at], channel[at]))
    largest = bits.view(torch.float32)
    odd = largest.isnan().nonzero()[:, 0]
    if len(odd):  # of several NaN the first counts, whatever their bits
        channel[odd] = torch.from_numpy(vectors[odd].float().numpy().argmax(1))
    return Magnitude(l2, largest, channel.int())


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
