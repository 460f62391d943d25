"""Which experts are to change: by relevance, or drawn among those that every question uses."""

import random
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .lessons import Lesson, batched
from .upper import Expert, Upper

FIRST, LAST = 24, 29
"""Layers that may carry. Before them the last tokens of a prompt do not know what it is about: a linear reader of the residual
stream, fitted on the training questions, tells the subject in the ranking split's forms 63 to 80 % of the time in layers 0 to
23, and 93 to 97 % from 24 on.
"""
LEAST_USED = 0.2
"""Share of the last prompt tokens that select a carrier at least."""
TAIL = 5
"""Last prompt tokens that are looked at: all that the template writes after a question."""


class Usage(NamedTuple):
    """What routers give at the last tokens of each prompt: mean weight and share of tokens [prompts, layers, experts]."""

    weight: Tensor
    share: Tensor


@torch.no_grad()
def usage_of(upper: Upper, prompts: Sequence[Lesson]) -> Usage:
    """Of prompts, each up to where its answer starts."""
    weights, shares = [], []
    for batch in batched([lesson.prompt() for lesson in prompts], 32):
        ends = torch.tensor([len(one.ids) for one in batch.lessons])
        tail = ends[:, None] - torch.arange(1, TAIL + 1)
        with _routings(upper) as found:
            upper.said(upper.lower(batch.ids))
        given = torch.stack([table.unflatten(0, batch.ids.shape) for table in found], 2)  # ..., layers, experts
        own = given[torch.arange(len(ends))[:, None], tail]
        weights.append(own.mean(1))
        shares.append((own > 0).float().mean(1))
    return Usage(torch.cat(weights), torch.cat(shares))


class _routings:
    """Collects every layer's weights [tokens, experts] while open."""

    def __init__(self, upper: Upper) -> None:
        self.gates = [layer.mlp.gate for layer in upper.model.model.layers]

    def __enter__(self) -> list[Tensor]:
        found: list[Tensor] = []

        def keep(_: Any, __: Any, out: Any) -> None:
            logits, weights, index = out
            found.append(torch.zeros_like(logits).scatter(1, index, weights.float()))

        self.handles = [gate.register_forward_hook(keep) for gate in self.gates]
        return found

    def __exit__(self, *_: object) -> None:
        for handle in self.handles:
            handle.remove()


def by_relevance(usage: Usage, kinds: Sequence[str], count: int, seed: int) -> list[Expert]:
    """Those whose mean weight on the subject exceeds that on others most, best first, on a half of the prompts drawn by seed."""
    half = random.Random(seed).sample(range(len(kinds)), len(kinds) // 2)
    on, off = ([i for i in half if (kinds[i] == "subject") is side] for side in (True, False))
    gain = usage.weight[on].mean(0) - usage.weight[off].mean(0)
    return _first(gain.masked_fill(usage.share[on].mean(0) < LEAST_USED, float("-inf")), count)


def at_random(usage: Usage, kinds: Sequence[str], count: int, seed: int) -> list[Expert]:
    """Drawn among those that the subject and others both use."""
    on, off = ([i for i, kind in enumerate(kinds) if (kind == "subject") is side] for side in (True, False))
    both = torch.minimum(usage.share[on].mean(0), usage.share[off].mean(0))
    used = [expert for expert in _allowed(both) if both[expert] >= LEAST_USED]
    return random.Random(seed).sample(used, count)


def _first(score: Tensor, count: int) -> list[Expert]:
    return sorted(_allowed(score), key=lambda expert: -float(score[expert]))[:count]


def _allowed(table: Tensor) -> list[Expert]:
    layers, experts = table.shape
    return [(i, e) for i in range(min(FIRST, layers - 1), min(LAST + 1, layers)) for e in range(experts)]
