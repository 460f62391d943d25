"""Whether tokens got the experts that the rule gives for their own logits, and whether two ways of running them agree.

Nothing here depends on how a processor rounds. A way (left padded, right padded, decoded from a cache) is judged by the logits
that its own router gave there; two ways are compared with each other only as far as the bare model routes alike in both, and
only where the selection was decided by more than what the bare model's own gaps differ by.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

ROUNDED = {"float32": 1e-5, "bfloat16": 2**-8}  # gaps between scores of size 1 that rounding alone can close


class Routed(NamedTuple):
    """One MoE layer, one sequence, one way of running it; rows in the order of the text, weights by expert.

    received  what the experts received [tokens, experts]
    expected  what the rule under the plan gives for the logits of this very run
    bare      the same without the plan
    gaps      by how much the plan's selection was decided, in units of what rounding can close [tokens]: 1 is no tie
    """

    received: Tensor
    expected: Tensor
    bare: Tensor
    gaps: Tensor


Sequenced = Sequence[Mapping[int, Routed]]  # by sequence, by layer


def judge(way: str, run: Sequenced, close: float) -> float:
    """Every clear token received what the rule gives; half of them are clear, some are moved. Returns the least share judged.

    close  of weights, relative to the token's largest
    """
    least = 1.0
    for layer in run[0]:
        one = Routed(*(torch.cat(parts) for parts in zip(*(sequence[layer] for sequence in run), strict=True)))
        clear = one.gaps > 1
        share, where = clear.double().mean().item(), f"{way}, layer {layer}"
        assert share >= 0.5, f"{where}: only {share:.0%} of {len(clear)} tokens have a clear margin"
        wrong = ((one.received != 0) != (one.expected != 0)).any(-1) & clear
        assert not wrong.any(), f"{where}: {int(wrong.sum())} of {int(clear.sum())} clear tokens got other experts"
        largest = one.expected[clear].abs().amax(-1, keepdim=True).clamp_min(1e-9)
        error = ((one.received - one.expected)[clear].abs() / largest).max().item()
        assert error <= close, f"{where}: weights off by {error:.2g}"
        least = min(least, share)
    return least


def moved(run: Sequenced, layer: int) -> int:
    """How many clear tokens the plan gives something else than the bare rule would for the same logits."""
    return sum(int(((s[layer].expected != s[layer].bare).any(-1) & (s[layer].gaps > 1)).sum()) for s in run)


def alike(ways: tuple[Mapping[int, Routed], Mapping[int, Routed]]) -> Tensor:
    """Tokens up to which one sequence got the same experts in every layer in both ways, bool [tokens]."""
    one, other = ways
    same = [((one[n].received != 0) == (other[n].received != 0)).all(-1) for n in one]
    return torch.stack(same).all(0).long().cummin(0).values.bool()


class Compared(NamedTuple):
    """Token-layers of a pair of ways: those in question, those judged, those that flipped without being clear."""

    tokens: int
    judged: int
    flipped: int


def compare(
    way: str,
    bare: tuple[Sequenced, Sequenced],
    steered: tuple[Sequenced, Sequenced],
    layers: Collection[int] | None = None,
) -> Compared:
    """Where the bare model routes alike in both ways, clear tokens get the same experts under the plan in both.

    layers  those whose gaps are known (None: all); the others are only watched for flips

    A token counts until an earlier layer, or an earlier token of its sequence, flipped at an unclear margin: behind that the two
    ways compute with other numbers.
    """
    pairs, plain = list(zip(*steered, strict=True)), list(zip(*bare, strict=True))
    noise = 2 * max((_noise(pair, alike(pair)) for pair in plain), default=0.0)
    total, judged, flipped = 0, 0, 0
    for number, ((one, other), bares) in enumerate(zip(pairs, plain, strict=True)):
        same = alike(bares)
        for layer in one:
            a, b = one[layer], other[layer]
            flips = ((a.received != 0) != (b.received != 0)).any(-1)
            clear = (torch.minimum(a.gaps, b.gaps) > max(1.0, noise)) & same & (layers is None or layer in layers)
            assert not (flips & clear).any(), (
                f"{way}: sequence {number}, layer {layer}: {int((flips & clear).sum())} flipped"
            )
            total, judged, flipped = total + len(flips), judged + int(clear.sum()), flipped + int((flips & same).sum())
            same &= ~flips.long().cummax(0).values.bool()
    return Compared(total, judged, flipped)


def _noise(pair: tuple[Mapping[int, Routed], Mapping[int, Routed]], same: Tensor) -> float:
    """By how much the gaps of one sequence differ between two ways, where both route alike."""
    one, other = pair
    differences = [(one[n].gaps - other[n].gaps)[same].abs().nan_to_num(0.0) for n in one]
    return max((d.max().item() for d in differences if d.numel()), default=0.0)
