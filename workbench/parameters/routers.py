"""A router's one matrix: for each expert the direction, in what the router is given, that its logit measures."""

from typing import NamedTuple

from torch import Tensor, nn

from workbench.errors import WorkbenchError
from workbench.model import MoEBlock
from workbench.parameters.readable import check_alone, check_plain


class RouterRows(NamedTuple):
    """rows [experts, hidden], and the bias [experts] that is added to the product, where there is one; views."""

    rows: Tensor
    bias: Tensor | None


def router_rows(block: MoEBlock, n_experts: int, hidden: int) -> RouterRows:
    """The rows of the layer's routed experts. Classes of the router after them (shared, skipping) are left out.

    Raises `WorkbenchError` for a router that is more than one matrix, and for one whose weights cannot be read as they are.
    """
    holder = block.router if block.adapter is None else block.block
    where = block.router_name.removesuffix(" (router)")
    check_alone(where, holder)
    module, name = _matrix(block, holder, where, n_experts, hidden)
    weight, bias = getattr(module, name), getattr(module, "bias", None)
    rows = weight.detach()[:n_experts]
    if not isinstance(bias, Tensor) or bias.shape != weight.shape[:1]:
        return RouterRows(rows, None)
    return RouterRows(rows, bias.detach()[:n_experts])


def _matrix(block: MoEBlock, holder: nn.Module, where: str, n_experts: int, hidden: int) -> tuple[nn.Module, str]:
    """The module that owns the router's matrix, and the matrix's name there."""
    found = [
        (path, module, name, tensor)
        for path, module in holder.named_modules()
        for name, tensor in module.named_parameters(recurse=False)
        if _is_matrix(tensor)
    ]
    for path, _, name, tensor in found:  # first of all: quantised weights have other shapes
        check_plain(".".join(part for part in (where, path, name) if part), tensor)
    if block.adapter is not None:  # the block holds experts as well
        found = [x for x in found if x[3].shape == (n_experts, hidden)]
    fits = [(module, name) for _, module, name, x in found if x.shape[0] >= n_experts and x.shape[1] == hidden]
    if len(found) != 1 or not fits:
        raise WorkbenchError(
            f"The router of layer {block.layer} ('{where}') is not one matrix of {n_experts} rows on a stream of {hidden} "
            f"channels, but has {len(found)} matrices, so no expert has a row; leave routers out of keep."
        )
    return fits[0]


def _is_matrix(tensor: Tensor) -> bool:
    return not tensor.is_floating_point() or (tensor.ndim == 2 and min(tensor.shape) > 1)
