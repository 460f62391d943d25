"""Seeing every expert's own output: weights that know their slots ride through the experts module.

The experts of a layer are fused 3-D weights, so there is no module to hook per expert. But every backend ends in
`output * weights`, and the weights come from the argument we can reach. `SlotWeights` is that argument as a tensor subclass
that carries the slot number of each element along through reshaping and sorting; at the product it hands (outputs, slots)
to a sink, and what leaves the product is a plain tensor. No backend is registered, the config is not touched, and the
result is bit-equal.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

# sink(outputs [rows, hidden], slots [rows] = token * k + slot)
Sink = Callable[[Tensor, Tensor], None]

_PRODUCTS = {torch.mul, Tensor.mul, Tensor.__mul__, Tensor.__rmul__, torch.multiply, Tensor.multiply}
_CASTS = {Tensor.to, Tensor.float, Tensor.type, Tensor.type_as, Tensor.bfloat16, Tensor.half, Tensor.double}
_FILLS = {Tensor.masked_fill, torch.masked_fill, Tensor.clone, torch.clone, Tensor.contiguous, Tensor.detach}
_MOVES = {
    Tensor.reshape,
    torch.reshape,
    Tensor.view,
    Tensor.flatten,
    torch.flatten,
    Tensor.unsqueeze,
    torch.unsqueeze,
    Tensor.squeeze,
    Tensor.__getitem__,
    Tensor.index_select,
    torch.index_select,
    Tensor.transpose,
    Tensor.t,
    Tensor.permute,
    Tensor.gather,
    torch.gather,
    Tensor.take,
    Tensor.expand,
}


class SlotWeights(Tensor):
    """Routing weights [tokens, k] whose every element knows its slot; see the module's docstring."""

    slots: Tensor
    sink: Sink

    @staticmethod
    def wrap(weights: Tensor, sink: Sink, slots: Tensor | None = None) -> "SlotWeights":
        """`weights` as riders; slots are numbered token * k + slot unless given."""
        rider = weights.as_subclass(SlotWeights)
        rider.slots = (
            torch.arange(weights.numel(), device=weights.device).view(weights.shape) if slots is None else slots
        )
        rider.sink = sink
        return rider

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        with torch._C.DisableTorchFunctionSubclass():
            if func in _PRODUCTS:
                return func(*_tapped(args), **kwargs)
            rider = args[0] if args and isinstance(args[0], SlotWeights) else None
            if rider is None or not (func in _MOVES or func in _CASTS or func in _FILLS):
                return func(*args, **kwargs)
            out = func(*args, **kwargs)
            slots = func(rider.slots, *args[1:], **kwargs) if func in _MOVES else rider.slots
            return SlotWeights.wrap(out, rider.sink, slots)


def _tapped(args: Any) -> list[Any]:
    """The factors of a product, as plain tensors; outputs times one weight per row pass through the sink first."""
    first, second = args
    rider, other = (first, second) if isinstance(first, SlotWeights) else (second, first)
    plain = rider.as_subclass(Tensor)
    is_outputs = isinstance(other, Tensor) and other.ndim == rider.ndim and rider.shape[-1] == 1 and other.ndim >= 2
    if is_outputs:
        rider.sink(other, rider.slots.reshape(-1))
    return [plain, other] if rider is first else [other, plain]
