"""How large is a vector: L2 norm, largest absolute value and its channel, median. The reductions that capture pays for.

On the CPU largest values of narrow vectors are found as integers, of others by numpy's argmax and argmin: of 16,384 x 128 floats
in 0.8 ms instead of 1.7 (torch's `abs().max(-1)` took 2.1), of 16,384 x 2,048 in 16 ms instead of 10. Medians are numpy's
partition: 2,048 x 512 took 9 ms in torch and 3 there.
"""

from collections.abc import Iterator
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
    if not vectors.numel():
        return Magnitude(
            *(torch.zeros(len(vectors), dtype=kind) for kind in (torch.float32, torch.float32, torch.int32))
        )
    return _by_leading_bits(vectors) if vectors.shape[-1] <= NARROW else _of_both_ends(vectors)


def _chunks(vectors: Tensor, l2: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Rows and their values in float32, as many as a core's cache holds; their norms go into `l2`."""
    rows = max(1, VALUES_AT_ONCE // vectors.shape[-1])
    for start in range(0, len(vectors), rows):
        at = slice(start, min(start + rows, len(vectors)))
        part = vectors[at].float().contiguous()
        torch.linalg.vector_norm(part, dim=-1, out=l2[at])
        yield at, part


def _of_both_ends(vectors: Tensor) -> Magnitude:
    """From the largest value and the smallest: no copy of absolute values is made."""
    n = len(vectors)
    l2, largest, channel = _floats(n), np.empty(n, np.float32), np.empty(n, np.int32)
    for at, part in _chunks(vectors, l2):
        values = part.numpy()
        row, high, low = np.arange(len(values)), values.argmax(1), values.argmin(1)
        above, below = values[row, high], -values[row, low]
        channel[at] = np.where(above == below, np.minimum(high, low), np.where(below > above, low, high))
        largest[at] = np.abs(np.maximum(above, below))  # of zeros: not minus zero
    return Magnitude(l2, torch.from_numpy(largest), torch.from_numpy(channel))


def _by_leading_bits(vectors: Tensor) -> Magnitude:
    """The first channel of those whose sizes are largest in all but their last bits, then exactly where these decide.

    The bits of a float without its sign are ordered as its size is; in place of the last ones stands the channel, so that one
    maximum over integers gives both.
    """
    n, width = vectors.shape
    last = (1 << (width - 1).bit_length()) - 1
    countdown = last - torch.arange(width, dtype=torch.int32)
    keys = torch.empty(min(n, max(1, VALUES_AT_ONCE // width)), width, dtype=torch.int32)
    l2, high, low, found = _floats(n), _floats(n), _floats(n), torch.empty(n, dtype=torch.int32)
    for at, part in _chunks(vectors, l2):
        key = torch.bitwise_and(part.view(torch.int32), 0x7FFFFFFF ^ last, out=keys[: len(part)])
        torch.amax(key.bitwise_or_(countdown), -1, out=found[at])
        torch.amax(part, -1, out=high[at])
        torch.amin(part, -1, out=low[at])
    channel = last - found.bitwise_and_(last)
    largest = _at(vectors, channel.long()).abs()
    # not equal: two sizes that differ in their last bits alone, or what is not a number
    unsure = (largest != torch.maximum(high, low.neg_())).nonzero()[:, 0]
    if len(unsure):
        rows = vectors[unsure].float().abs()
        first = torch.from_numpy(rows.numpy().argmax(1))
        channel[unsure], largest[unsure] = first.int(), _at(rows, first)
    return Magnitude(l2, largest, channel)


def _floats(n: int) -> Tensor:
    return torch.empty(n, dtype=torch.float32)  # whatever torch's default is here


def _at(vectors: Tensor, channel: Tensor) -> Tensor:
    """[rows] float32: each row's value at its channel."""
    return vectors.gather(1, channel[:, None])[:, 0].float()


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
