"""How large is a vector: L2 norm, largest absolute value and its channel, median. The reductions that capture pays for.

On the CPU the largest value and its channel are found among the bits of the floats, as integers: torch's maximum takes lanes, its
maximum with a channel does not. 16,384 x 128 take 1.9 ms with two threads, all three, where `max(-1)` of the same integers
takes 3.0. Medians are numpy's partition: 2,048 x 512 took 9 ms in torch and 3 there.
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
    bits, found = torch.zeros(2, n, dtype=torch.int32)
    last = (1 << (width - 1).bit_length()) - 1 if width else 0
    countdown = last - torch.arange(width, dtype=torch.int32)
    rows = max(1, VALUES_AT_ONCE // max(1, width))
    copy = torch.empty(min(n, rows), width, dtype=torch.int32)
    for start in range(0, n if width else 0, rows):
        at = slice(start, min(start + rows, n))
        part = vectors[at].float().contiguous()
        torch.linalg.vector_norm(part, dim=-1, out=l2[at])
        # the bits of a float without its sign are ordered as its size is
        sizes = torch.bitwise_and(part.view(torch.int32), _SIZE_BITS, out=copy[: len(part)])
        torch.amax(sizes, -1, out=bits[at])
        # once more with the channel in place of the last bits: among sizes alike but for these, the first
        torch.amax(sizes.bitwise_and_(~last).bitwise_or_(countdown), -1, out=found[at])
    largest, channel = bits.view(torch.float32), last - found.bitwise_and_(last)
    return Magnitude(l2, largest, _settled(vectors, largest, channel) if width else channel)


def _settled(vectors: Tensor, largest: Tensor, channel: Tensor) -> Tensor:
    """`channel`, looked for again where not the largest value is there: the last bits decide, or some are no numbers."""
    there = vectors.gather(1, channel.long()[:, None])[:, 0].float().abs()
    unsure = (there != largest).nonzero()[:, 0]
    if len(unsure):
        sizes = vectors[unsure].float().abs().numpy()
        channel[unsure] = torch.from_numpy(sizes.argmax(1)).int()
    return channel


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
