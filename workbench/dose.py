"""The dose: how many tokens and slots a plan really changed. A plan that changed nothing must say so."""

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from workbench.positions import Forward

# weights closer than this (relative to the token's largest) are the same weight computed in another order
SAME_WEIGHT = {torch.float32: 1e-5, torch.float64: 1e-5, torch.bfloat16: 2**-7, torch.float16: 2**-9}


class DoseCounts(NamedTuple):
    """Real tokens and their slots (of all MoE layers), and how many the plan changed; tokens left with no expert at all."""

    tokens: int
    tokens_changed: int
    slots: int
    slots_changed: int
    tokens_emptied: int

    def __str__(self) -> str:
        if not self.tokens_changed:
            return f"nothing changed in {self.tokens:,} tokens"
        emptied = f", {self.tokens_emptied:,} token-layers left without any expert" if self.tokens_emptied else ""
        tokens = f"{self.tokens_changed:,} of {self.tokens:,} tokens"
        return f"{tokens} and {self.slots_changed:,} of {self.slots:,} slots changed{emptied}"


@dataclass
class Dose:
    """Counts over all forwards of a `with steered(model, plan, dose=dose)` block. Padding is never counted."""

    slots_per_token: int = 0
    _sums: dict[str, Tensor] = field(default_factory=dict[str, Tensor])

    def begin(self, forward: Forward) -> None:
        """A forward starts: its real tokens count."""
        self._add("tokens", forward.real)
        forward.changed = torch.zeros_like(forward.real)

    def add(self, forward: Forward, changed: Tensor, emptied: Tensor | None = None) -> None:
        """Slots changed in one layer, bool [tokens, slots], and tokens whose every slot was dropped, bool [tokens]."""
        real = forward.real.to(changed.device)
        changed = changed & real[:, None]
        self._add("slots_changed", changed)
        tokens = changed.any(-1).to(forward.changed.device)
        self._add("tokens_changed", tokens & ~forward.changed)
        forward.changed |= tokens
        if emptied is not None:
            self._add("tokens_emptied", emptied & real)

    def counts(self) -> DoseCounts:
        """The counts so far."""
        n = {key: int(value) for key, value in dict(self._sums).items()}  # a copy: another thread may be counting
        tokens = n.get("tokens", 0)
        return DoseCounts(
            tokens,
            n.get("tokens_changed", 0),
            tokens * self.slots_per_token,
            n.get("slots_changed", 0),
            n.get("tokens_emptied", 0),
        )

    def _add(self, key: str, found: Tensor) -> None:
        total = found.sum()  # stays on the device: counting never waits for it
        self._sums[key] = total if key not in self._sums else self._sums[key] + total.to(self._sums[key].device)


def changed_slots(old_index: Tensor, old_weights: Tensor, index: Tensor, weights: Tensor) -> Tensor:
    """Slots of the new routing whose expert was not selected before, or now weighs differently; bool [tokens, k]."""
    same_expert = index[:, :, None] == old_index[:, None, :]
    before = (same_expert * old_weights.float()[:, None, :]).sum(-1)
    tolerance = SAME_WEIGHT.get(weights.dtype, 1e-5) * weights.float().abs().amax(-1, keepdim=True)
    return ~same_expert.any(-1) | ((weights.float() - before).abs() > tolerance)
