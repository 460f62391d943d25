"""What the hooks need to know of one transformers model, shared by every `MoEModel` made from it."""

import itertools
import weakref
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from workbench.anatomy import Anatomy, RoutingRule
from workbench.model.adapters import MoEAdapter
from workbench.model.layout import Layout
from workbench.model.placement import value

_NUMBERS = itertools.count(1)
_BY_UID: "weakref.WeakValueDictionary[int, Runtime]" = weakref.WeakValueDictionary()


@dataclass(frozen=True, eq=False)
class RouterFacts:
    """One layer's routing. Tensors that the rule needs are named by module and attribute, and read when they are needed."""

    n_experts: int
    top_k: int
    rule: RoutingRule | None
    refused: dict[str, str] = field(default_factory=dict[str, str])
    notes: tuple[str, ...] = ()
    probabilities: bool = False
    correction: tuple[nn.Module, str] | None = None
    expert_scale: tuple[nn.Module, str] | None = None


@dataclass(eq=False)
class Runtime:
    """Modules and rules of one model.

    before       layer -> the module whose input is the residual stream before the MoE block (its norm)
    multipliers  layer -> what the layer multiplies the MoE block's output with; None where the layer is no plain sum
    facts        layer -> what its router is, and where the tensors that its rule needs are
    wrapped      whether the model lay in a TransformerLens bridge when it was looked at
    bridges      the bridges around it
    far          whether the weights are on NDIF, and only the modules' names here
    adapter      the adapter that it was loaded with, if any
    switches     the settings and adapters that the rest was found under (`workbench.model.model.identity`)
    """

    hf: Any
    layout: Layout
    anatomy: Anatomy
    before: dict[int, nn.Module]
    multipliers: dict[int, float | None]
    facts: dict[int, RouterFacts]
    wrapped: bool = False
    far: bool = False
    adapter: MoEAdapter | None = None
    switches: tuple[Any, ...] = ()
    bridges: "weakref.WeakSet[Any]" = field(default_factory=lambda: weakref.WeakSet())
    uid: int = field(default_factory=lambda: next(_NUMBERS))

    def __post_init__(self) -> None:
        _BY_UID[self.uid] = self

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
