"""How large is a vector: L2 norm, largest absolute value and its channel, median. The reductions that capture pays for.

On the CPU largest values of narrow vectors are found as integers, of others by numpy's argmax and argmin: of 16,384 x 128 floats
in 0.8 ms instead of 1.7 (torch's `abs().max(-1)` took 2.1), of 16,384 x 2,048 in 16 ms instead of 10. Medians are numpy's
partition: 2,048 x 512 took 9 ms in torch and 3 there.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

NARROW = 256  # channels up to which largest values are found as integers
_ROWS = 512  # rows a chunk of the median: what a core's cache holds
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
    if not part.numel():
        return Magnitude(
            part.new_zeros(len(part)), part.new_zeros(len(part)), part.new_zeros(len(part), dtype=torch.int32)
        )
    part = part.contiguous()
    if part.shape[-1] > NARROW:
        return Magnitude(torch.linalg.vector_norm(part, dim=-1), *_of_both_ends(part.numpy()))
    channel = _by_leading_bits(part)
    largest = part.gather(1, channel[:, None])[:, 0].abs()
    # not equal: two sizes that differ in their last bits alone, or what is not a number
    unsure = (largest != torch.maximum(part.amax(-1), -part.amin(-1))).nonzero()[:, 0]
    if len(unsure):
        rows = part[unsure].abs()
        channel[unsure] = torch.from_numpy(rows.numpy().argmax(1))
        largest[unsure] = rows.gather(1, channel[unsure, None])[:, 0]
    return Magnitude(torch.linalg.vector_norm(part, dim=-1), largest, channel.int())


def _of_both_ends(values: np.ndarray) -> tuple[Tensor, Tensor]:
    """Largest size and its channel, [rows] each, from the largest value and the smallest: no copy of absolute values is made."""
    row, high, low = np.arange(len(values)), values.argmax(1), values.argmin(1)
    above, below = values[row, high], -values[row, low]
    channel = np.where(above == below, np.minimum(high, low), np.where(below > above, low, high))
    largest = np.abs(np.maximum(above, below))  # of zeros: not minus zero
    return torch.from_numpy(largest), torch.from_numpy(channel.astype(np.int32))


def _by_leading_bits(part: Tensor) -> Tensor:
    """[rows] int64: the first channel of those whose sizes are largest in all but their last bits.

    The bits of a float without its sign are ordered as its size is; in place of the last ones stands the channel, so that one
    maximum over integers gives both.
    """
    last = (1 << (part.shape[-1] - 1).bit_length()) - 1
    key = part.view(torch.int32) & (0x7FFFFFFF ^ last)
    key |= last - torch.arange(part.shape[-1], dtype=torch.int32)
    return last - (key.amax(-1) & last).long()


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
