"""The weight matrices of each expert, wherever the family keeps them: slices of fused weights, modules in a list, or where an
adapter says. Nothing is copied.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from torch import Tensor, nn

from workbench.errors import WorkbenchError
from workbench.model import MoEBlock, fused_weights
from workbench.parameters.readable import check_alone, check_plain


class Matrix(NamedTuple):
    """One weight matrix of one expert: its name within the experts ("gate_up_proj"), and its values, a view."""

    name: str
    expert: int
    values: Tensor


def expert_matrices(block: MoEBlock, n_experts: int) -> Iterator[Matrix]:
    """Every matrix of every routed expert of a layer; biases, norms and identity experts have none.

    Raises `WorkbenchError` for weights that cannot be read as they are, by name, and for a module that keeps its experts in
    a way that nobody has said.
    """
    if block.adapter is not None:
        yield from _adapted(block, n_experts)
        return
    check_alone(block.experts_name, block.experts)
    names = {id(parameter): name for name, parameter in block.experts.named_parameters()}
    fused = {names[id(parameter)]: parameter for parameter in fused_weights(block.experts)}
    if not fused:
        yield from _listed(block, block.experts, block.experts_name, n_experts)
        return
    for name, parameter in fused.items():
        check_plain(f"{block.experts_name}.{name}", parameter)
    held = min(parameter.shape[0] for parameter in fused.values())  # experts after these are identity experts
    for name, parameter in fused.items():
        for expert in range(min(held, n_experts)):
            yield Matrix(name.rpartition(".")[2], expert, parameter.detach()[expert])


def _adapted(block: MoEBlock, n_experts: int) -> Iterator[Matrix]:
    where, said = block.experts_name.removesuffix(" (experts)"), getattr(block.adapter, "weights", None)
    check_alone(where, block.block)
    if said is None:
        yield from _listed(block, block.block, where, n_experts)
        return
    for name, parameter in block.block.named_parameters():
        check_plain(f"{where}.{name}", parameter)
    for expert in range(n_experts):
        for name, values in said(block.block, expert).items():
            yield Matrix(name, expert, values.detach())


def _listed(block: MoEBlock, holder: nn.Module, where: str, n_experts: int) -> Iterator[Matrix]:
    """Experts that are modules of their own, in the one list of as many modules."""
    lists: list[tuple[str, Any]] = [
        (name, m) for name, m in holder.named_modules() if isinstance(m, nn.ModuleList) and len(m) == n_experts
    ]
    if len(lists) != 1:
        raise WorkbenchError(
            f"Layer {block.layer} ('{where}') keeps its {n_experts} experts neither in fused weights nor in one list of modules, "
            f"so which weights are whose is not known; give its adapter a method `weights(block, number)` "
            f"(workbench/model/adapters.py), or leave matrices out of keep."
        )
    path, experts = lists[0]
    for expert, module in enumerate(experts):
        for name, parameter in module.named_parameters():
            if parameter.ndim >= 2 or not parameter.is_floating_point():
                check_plain(".".join(part for part in (where, path, str(expert), name) if part), parameter)
                yield Matrix(name.removesuffix(".weight"), expert, parameter.detach())
