"""A layer's first router: which groups add most at a token, told from what the MLP reads.

It is a logistic regression on membership in the best k by the length of what a group adds (for each k that is to be served),
scaled down so that every weight 2 sigmoid(score) begins near 1: the scores order the experts and change nothing else.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from .groups import Groups, Router

_SPREAD = 0.15
"""Standard deviation of the scores; sigmoid is straight there, with a slope of 1/4."""
_STEPS, _BATCH, _RATE = 400, 1024, 3e-3


def group_sizes(neurons: Tensor, down: Tensor, groups: Groups) -> Tensor:
    """The length of what each routed group adds [tokens, experts], from neurons [tokens, n] and `down` [hidden, n]."""
    return torch.stack([(neurons[:, own] @ down[:, own].T).norm(dim=1) for own in groups.routed], 1)


def regress(read: Tensor, added: Tensor, ks: Sequence[int], *, seed: int = 0) -> Router:
    """A router from what the MLP reads [tokens, hidden] and what its groups add [tokens, experts], for each top-k."""
    drawing = torch.Generator().manual_seed(seed)
    chosen = [torch.zeros_like(added).scatter_(1, added.topk(k).indices, 1.0) for k in ks]
    wanted = torch.stack(chosen).mean(0)
    weight = torch.zeros(added.shape[1], read.shape[1], requires_grad=True)
    bias = torch.zeros(added.shape[1], requires_grad=True)
    optimiser = torch.optim.Adam([weight, bias], lr=_RATE)
    with torch.enable_grad():
        for step in range(_STEPS):
            optimiser.param_groups[0]["lr"] = _RATE * (1.03 - step / _STEPS)
            drawn = torch.randint(len(read), (_BATCH,), generator=drawing)
            loss = binary_cross_entropy_with_logits(read[drawn] @ weight.T + bias, wanted[drawn])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    weight, bias = weight.detach(), bias.detach()
    scale = _SPREAD / (read @ weight.T + bias).std().clamp(min=1e-6)
    return Router(weight * scale, bias * scale / 4)
