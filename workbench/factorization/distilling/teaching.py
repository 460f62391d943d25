"""How far the student's next-token distributions are from the dense model's, and which way its hidden states should move.

The gradient of KL(dense || student) in the student's logits is its probabilities minus the dense model's, so the logits of a
vocabulary never have to be kept: a block of positions at a time is enough.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import linear

_BLOCK = 512
"""Positions whose logits are in memory at a time."""


class Lesson(NamedTuple):
    """The mean KL divergence in nats, and its gradient at the student's hidden states."""

    nats: float
    gradient: Tensor


@torch.no_grad()
def lesson(student: Tensor, dense: Tensor, head: Tensor) -> Lesson:
    """Of hidden states [positions, hidden] of both, read by `head` [vocabulary, hidden]."""
    total, gradient = 0.0, torch.empty_like(student)
    for start in range(0, len(student), _BLOCK):
        at = slice(start, start + _BLOCK)
        own = linear(student[at], head).float().log_softmax(-1)
        wanted = linear(dense[at], head).float().log_softmax(-1)
        share = wanted.exp()
        total += float(wanted.sub_(own).mul_(share).sum())  # in place: a block of a vocabulary is 100 MB
        moved = own.exp_().sub_(share).div_(len(student)).to(student.dtype)
        gradient[at] = moved @ head
    return Lesson(total / len(student), gradient)


@torch.no_grad()
def nats(hidden: Tensor, following: Tensor, head: Tensor) -> Tensor:
    """Negative log-likelihood [positions] of the ids `following` [positions], from hidden states [positions, hidden]."""
    blocks = zip(hidden.split(_BLOCK), following.split(_BLOCK), strict=True)
    return torch.cat(
        [torch.nn.functional.cross_entropy(linear(h, head).float(), f, reduction="none") for h, f in blocks]
    )
