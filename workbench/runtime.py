"""What the hooks need to know of one transformers model, shared by every `MoEModel` made from it."""

import itertools
import weakref
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from workbench.active import HookPoints
from workbench.adapters import MoEAdapter
from workbench.anatomy import Anatomy, RoutingRule
from workbench.layout import Layout
from workbench.placement import value
from workbench.routerfacts import RouterFacts

_NUMBERS = itertools.count(1)
_BY_UID: "weakref.WeakValueDictionary[int, Runtime]" = weakref.WeakValueDictionary()


@dataclass(eq=False)
class Runtime:
    """Modules, rules and hooks of one model.

    before       layer -> the module whose input is the residual stream before the MoE block (its norm)
    multipliers  layer -> what the layer multiplies the MoE block's output with; None where the layer is no plain sum
    facts        layer -> what its router is, and where the tensors that its rule needs are
    wrapped      whether the model lay in a TransformerLens bridge when it was looked at
    bridges      the bridges around it
    far          whether the weights are on NDIF, and only the modules' names here; far_dtype is theirs then
    adapter      the adapter that it was loaded with, if any
    switches     the settings and adapters that the rest was found under (`workbench.identity`)
    """

    hf: Any
    layout: Layout
    anatomy: Anatomy
    before: dict[int, nn.Module]
    multipliers: dict[int, float | None]
    facts: dict[int, RouterFacts]
    wrapped: bool = False
    far: bool = False
    far_dtype: torch.dtype | None = None
    adapter: MoEAdapter | None = None
    switches: tuple[Any, ...] = ()
    bridges: "weakref.WeakSet[Any]" = field(default_factory=lambda: weakref.WeakSet())
    uid: int = field(default_factory=lambda: next(_NUMBERS))
    hooks: HookPoints = field(init=False)

    def __post_init__(self) -> None:
        from functools import partial

        from workbench.hooks import register

        _BY_UID[self.uid] = self
        self.hooks = HookPoints(partial(register, self))

    def rule(self, layer: int) -> RoutingRule:
        """The layer's routing rule; a plan that needs one was refused where there is none."""
        rule = self.anatomy.layer(layer).rule
        assert rule is not None
        return rule

    def correction(self, layer: int) -> Tensor | None:
        """The layer's correction bias [experts], if its rule uses one."""
        return _read(self.facts[layer].correction)

    def expert_scale(self, layer: int) -> Tensor | None:
        """The layer's scale per expert [experts], if its rule uses one."""
        return _read(self.facts[layer].expert_scale)

    def logits(self, layer: int, answered: Tensor) -> Tensor:
        """The router's logits from the first thing it answers: their logarithm where those are probabilities."""
        if not self.facts[layer].probabilities:
            return answered
        return answered.float().clamp_min(torch.finfo(torch.float32).tiny).log()


def _read(place: tuple[nn.Module, str] | None) -> Tensor | None:
    return None if place is None else value(*place).detach().reshape(-1)


def runtime_of(uid: int) -> Runtime:
    """The runtime with this number."""
    return _BY_UID[uid]
