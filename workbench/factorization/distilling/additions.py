"""What a student learnt, by the names and in the order of the dense model's own modules: small enough to be handed on alone.

groups [groups, size], the routed ones first; router.weight and router.bias; low-rank updates W + b a of the projections; norms as
what is added to their weight. A single expert that learnt more has what is added to its neurons' weights besides.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from ..fitting import Fitted
from ..groups import Groups, Router
from .student import Scaled, Student

_LARGE = 1e3
"""A vector of such values leaves a norm as its gain: the norm's epsilon is nothing beside their square."""


@torch.no_grad()
def additions(student: Student, found: Fitted) -> dict[str, Tensor]:
    """int16 groups, float32 biases, the rest in float16; `found` is what the student was made of."""
    made = {name: part.half() for name, part in student.parts.items() if not name.endswith(".d")}
    for i, (groups, routed) in enumerate(zip(found.groups, student.routed, strict=True)):
        order = torch.cat([groups.routed.reshape(-1), groups.shared])
        made[f"layers.{i}.groups"] = order.reshape(-1, groups.routed.shape[1]).to(torch.int16)
        made[f"layers.{i}.router.bias"] = routed.bias.clone()
        back = order.argsort()
        for name in (f"layers.{i}.mlp.gate_proj.b", f"layers.{i}.mlp.up_proj.b"):
            if name in made:
                made[name] = made[name][back]
        if (name := f"layers.{i}.mlp.down_proj.a") in made:
            made[name] = made[name][:, back].contiguous()
    for name, module in student.model.model.named_modules():
        if isinstance(module, Scaled):
            made[f"{name}.weight"] = (_gain(module) * module.d).half()
    return made


def found_in(learnt: Mapping[str, Tensor], shared: int) -> Fitted:
    """What the student was made of whose additions these are; `shared` of its groups are always on."""
    groups, routers = list[Groups](), list[Router]()
    while f"layers.{len(groups)}.groups" in learnt:
        layer = f"layers.{len(groups)}"
        rows = learnt[f"{layer}.groups"].long()
        groups.append(Groups(rows[: len(rows) - shared], rows[len(rows) - shared :].reshape(-1)))
        routers.append(Router(learnt[f"{layer}.router.weight"].float(), learnt[f"{layer}.router.bias"].float()))
    return Fitted(groups, routers)


@torch.no_grad()
def put_back(student: Student, learnt: Mapping[str, Tensor]) -> None:
    """Makes a student of `found_in(learnt)` and of the same rank what it was when these additions were written, in place."""
    for name, part in student.parts.items():
        layer, mlp, _ = name.partition(".mlp.")
        own = learnt[name.removesuffix(".d") + ".weight" if name.endswith(".d") else name].float()
        order = learnt[f"{layer}.groups"].long().reshape(-1) if mlp else None
        if order is not None and name.endswith(("gate_proj.b", "up_proj.b")):
            own = own[order]
        elif order is not None and name.endswith("down_proj.a"):
            own = own[:, order]
        part.copy_(own)
    for module in student.model.modules():
        if isinstance(module, Scaled):
            module.d.div_(_gain(module))


def _gain(norm: Scaled) -> Tensor:
    return norm.frozen(torch.full(norm.d.shape, _LARGE)).float()


@torch.no_grad()
def merge(dense: Any, learnt: Mapping[str, Tensor]) -> None:
    """Adds what was learnt to the weights of the dense model, in place: its projections and norms, not groups and routers.

    What single experts learnt goes to the neurons of their groups.
    """
    for name, update in updates(learnt):
        dense.model.get_parameter(name).add_(update)
    for name, tensor in learnt.items():
        layer, found, own = name.partition(".experts.")
        if found:  # of one expert, whose neurons are rows of gate and up, and columns of down
            number, module = own.split(".")
            weight = dense.model.get_parameter(f"{layer}.mlp.{module}.weight")
            neurons = learnt[f"{layer}.groups"][int(number)].long()
            weight.index_add_(int(module == "down_proj"), neurons, tensor.to(weight.dtype))


def updates(learnt: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """What is added to each of the dense model's parameters, by its name in the base model: float32."""
    for name, tensor in learnt.items():
        if name.endswith(".b"):
            yield f"{name[:-2]}.weight", tensor.float() @ learnt[f"{name[:-2]}.a"].float()
        elif name.endswith("norm.weight"):
            yield name, tensor.float()
