"""The dose: how many tokens and slots a plan really changed. A plan that changed nothing must say so."""

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from workbench.anatomy import Anatomy
from workbench.routing.positions import Positions

# weights closer than this (relative to the token's largest) are the same weight computed in another order
SAME_WEIGHT = {torch.float32: 1e-5, torch.float64: 1e-5, torch.bfloat16: 2**-7, torch.float16: 2**-9}


class DoseCounts(NamedTuple):
    """Real tokens and their slots (of all MoE layers), and how many the plan changed; tokens left with no expert at all.

    tokens_unlike  tokens in the scope of off, force or bias, once for each layer in which the router's own answer is not what
                   its fitted rule gives without edits (beyond ties): there those edits go by a rule that is not the router's
    layers_unlike  the layers where there are such tokens
    """

    tokens: int
    tokens_changed: int
    slots: int
    slots_changed: int
    tokens_emptied: int
    tokens_unlike: int = 0
    layers_unlike: tuple[int, ...] = ()

    def __str__(self) -> str:
        unlike = f"; {said_of_unlike(self.tokens_unlike, self.layers_unlike)}" if self.tokens_unlike else ""
        if not self.tokens_changed:
            return f"nothing changed in {self.tokens:,} tokens{unlike}"
        emptied = f", {self.tokens_emptied:,} token-layers left without any expert" if self.tokens_emptied else ""
        tokens = f"{self.tokens_changed:,} of {self.tokens:,} tokens"
        return f"{tokens} and {self.slots_changed:,} of {self.slots:,} slots changed{emptied}{unlike}"


def said_of_unlike(tokens: int, layers: tuple[int, ...]) -> str:
    """Half a sentence about tokens whose router does not follow its rule, counted once a layer."""
    where = f"layer {layers[0]}" if len(layers) == 1 else f"layers {', '.join(map(str, layers))}"
    return (
        f"in {tokens:,} token-layers ({where}) the router's own answer is not that of its routing rule, by which off, force "
        f"and bias go"
    )


@dataclass
class Unlike:
    """Tokens by layer whose router's own answer is not its rule's. `once`: only each layer's first forward is looked at."""

    once: bool = False
    _sums: dict[int, Tensor] = field(default_factory=dict[int, Tensor])

    def wants(self, layer: int) -> bool:
        """Whether to look at this forward of the layer."""
        return not (self.once and layer in self._sums)

    def add(self, layer: int, found: Tensor) -> None:
        """Tokens of one forward, bool [tokens]."""
        total = found.sum()
        self._sums[layer] = total if layer not in self._sums else self._sums[layer] + total

    def by_layer(self) -> dict[int, int]:
        """How many tokens in which layers; layers without any are left out."""
        return {layer: n for layer, total in sorted(dict(self._sums).items()) if (n := int(total))}


@dataclass
class Dose:
    """Counts over all forwards of a `with steered(model, plan, dose=dose)` block. Padding is never counted.

    is_counting  False: nothing is counted, and only each layer's first forward is looked at for a router unlike its rule
    """

    slots_per_token: int = 0
    is_counting: bool = True
    unlike: Unlike = field(default_factory=Unlike)
    _sums: dict[str, Tensor] = field(default_factory=dict[str, Tensor])

    def __post_init__(self) -> None:
        self.unlike.once = not self.is_counting

    def told(self, tokens: int, tokens_changed: int, slots_changed: int, tokens_emptied: int = 0) -> None:
        """Counts of an engine that counts by itself; see `DoseCounts`."""
        for key, n in (
            ("tokens", tokens),
            ("tokens_changed", tokens_changed),
            ("slots_changed", slots_changed),
            ("tokens_emptied", tokens_emptied),
        ):
            self._add(key, torch.tensor(n))

    def join(self, other: "Dose") -> None:
        """Counts what `other` counted as well; of layers that are not looked at any more, nothing."""
        for key, total in other._sums.items():
            self._add(key, total)
        for layer, total in other.unlike._sums.items():
            if self.unlike.wants(layer):
                self.unlike.add(layer, total)

    def begin(self, positions: Positions) -> Tensor:
        """A forward starts: its real tokens count. Returns the tokens changed so far, bool [tokens]: none."""
        self._add("tokens", positions.times(positions.real))
        return torch.zeros_like(positions.real)

    def add(self, positions: Positions, so_far: Tensor, changed: Tensor, emptied: Tensor | None = None) -> Tensor:
        """Slots changed in one layer, bool [tokens, slots], and tokens whose every slot was dropped, bool [tokens].

        so_far  the forward's tokens that earlier layers changed, bool [tokens]; returned with this layer's
        """
        real = positions.real.to(changed.device)
        changed = changed & real[:, None]
        self._add("slots_changed", positions.times(changed))
        tokens = changed.any(-1).to(so_far.device)
        self._add("tokens_changed", positions.times(tokens & ~so_far))
        if emptied is not None:
            self._add("tokens_emptied", positions.times(emptied & real))
        return so_far | tokens

    def counts(self) -> DoseCounts:
        """The counts so far."""
        n = {key: int(value) for key, value in dict(self._sums).items()}  # a copy: another thread may be counting
        tokens, unlike = n.get("tokens", 0), self.unlike.by_layer()
        return DoseCounts(
            tokens,
            n.get("tokens_changed", 0),
            tokens * self.slots_per_token,
            n.get("slots_changed", 0),
            n.get("tokens_emptied", 0),
            sum(unlike.values()),
            tuple(unlike),
        )

    def _add(self, key: str, found: Tensor) -> None:
        total = found.sum()  # stays on the device: counting never waits for it
        self._sums[key] = total if key not in self._sums else self._sums[key] + total.to(self._sums[key].device)


def slots_per_token(anatomy: Anatomy) -> int:
    """Slots of a token in all MoE layers, shared experts included."""
    return sum(x.top_k + x.n_shared for x in anatomy.layers)


def changed_slots(old_index: Tensor, old_weights: Tensor, index: Tensor, weights: Tensor) -> Tensor:
    """Slots of the new routing whose expert was not selected before, or now weighs differently; bool [tokens, k]."""
    same_expert = index[:, :, None] == old_index[:, None, :]
    before = (same_expert * old_weights.float()[:, None, :]).sum(-1)
    tolerance = SAME_WEIGHT.get(weights.dtype, 1e-5) * weights.float().abs().amax(-1, keepdim=True)
    return ~same_expert.any(-1) | ((weights.float() - before).abs() > tolerance)
