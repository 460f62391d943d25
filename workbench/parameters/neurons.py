"""What the neurons of an expert make of what it is given: act(gate x) * up x, computed once more from the family's own weights.

No family shows them, for its kernels go from a layer's rows to the experts' outputs. How the weights lie is what transformers
says of the module, or its adapter. It is tried before it is believed: on a few numbers, what the module itself answers must be
the rest of the expert applied to these neurons.
"""

from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workbench.errors import WorkbenchError
from workbench.model import MoEBlock, Runtime, fused_weights
from workbench.parameters.moe_blocks import blocks_of, moe_blocks
from workbench.parameters.readable import check_alone, check_plain

if TYPE_CHECKING:
    from workbench.model import MoEModel
    from workbench.records import Inner

Rest = Callable[[Tensor], Tensor]
_CLOSE = {torch.float64: 1e-6, torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 5e-2}
"""How far apart the two may be, of the largest number: kernels add in other orders."""
_ROWS = 4
_ELSE = "leave inner out of keep"


def neurons(runtime: Runtime, layers: Collection[int] | None = None) -> "dict[int, Inner]":
    """By layer, what gives an expert's neurons [n, neurons] for its rows [n, width]; None for an expert that has none."""
    return {block.layer: partial(_inner, block) for block, _ in blocks_of(runtime, layers)}


@torch.no_grad()
def n_neurons(model: "MoEModel", layers: Collection[int] | None = None) -> dict[int, int]:
    """How many neurons an expert has, by layer."""
    return {
        block.layer: _asked(block, model.anatomy.hidden_size)[0].shape[-1] for block, _ in moe_blocks(model, layers)
    }


@torch.no_grad()
def check_inner(model: "MoEModel", layers: Collection[int] | None = None) -> None:
    """Raises `WorkbenchError`, by layer and module, where the neurons of experts cannot be had; runs one expert a layer."""
    for block, _ in moe_blocks(model, layers):
        _check_weights(block)
        inner, own, rest = _asked(block, model.anatomy.hidden_size)
        again, dtype = rest(inner), own.dtype
        off = (again.double() - own.double()).abs().max() / own.double().abs().max().clamp_min(1e-30)
        if again.shape != own.shape or not off <= _CLOSE.get(dtype, 5e-2):
            raise _unknown(block, f"what follows them does not give the expert's own answer (off by {off:.2g})")


def _inner(block: MoEBlock, expert: int, rows: Tensor) -> Tensor | None:
    found = _neurons(block, expert, rows)
    return None if found is None else found[0]


def _neurons(block: MoEBlock, expert: int, rows: Tensor) -> tuple[Tensor, Rest] | None:
    if block.adapter is not None:
        said = getattr(block.adapter, "neurons", None)
        if said is None:
            raise _unknown(block, "its adapter has no method `neurons` (workbench/model/adapters.py)")
        return said(block.block, expert, rows)
    module: Any = _module(block)
    if expert >= min((weight.shape[0] for weight in fused_weights(module)), default=0):
        return None  # an identity expert
    into = _linear(module, "gate_up_proj" if hasattr(module, "gate_up_proj") else "up_proj", expert, rows)
    return _gated(module, into), partial(_out, module, expert)


def _module(block: MoEBlock) -> nn.Module:
    """The experts, of which an adapter layer that does nothing may hold the weights (`base_layer`, as PEFT has it)."""
    module = block.experts
    while isinstance(held := getattr(module, "base_layer", None), nn.Module):
        module = held
    return module


def _gated(module: Any, into: Tensor) -> Tensor:
    if not hasattr(module, "gate_up_proj"):
        return module.act_fn(into)
    if hasattr(module, "_apply_gate"):  # transformers' own, or the family's
        return module._apply_gate(into)
    gate, up = into.chunk(2, dim=-1)
    return module.act_fn(gate) * up


def _out(module: Any, expert: int, inner: Tensor) -> Tensor:
    out = _linear(module, "down_proj", expert, inner)
    return module.post_expert_norm(out) if getattr(module, "has_post_expert_norm", False) else out


def _linear(module: Any, name: str, expert: int, rows: Tensor) -> Tensor:
    weight, bias = getattr(module, name)[expert], getattr(module, f"{name}_bias", None)
    weight = weight.T if getattr(module, "is_transposed", False) else weight
    return F.linear(rows, weight, None if bias is None else bias[expert])


def _asked(block: MoEBlock, hidden: int) -> tuple[Tensor, Tensor, Rest]:
    """Of a few numbers: the first expert's neurons, its own answer, and what follows the neurons."""
    try:
        rows = _numbers(block, hidden)
        found = _neurons(block, 0, rows)
        assert found is not None
        weights = rows.new_tensor([1.0, 0.0]).expand(len(rows), 2)  # some cannot be given one slot alone
        own = block.experts(rows, torch.zeros_like(weights, dtype=torch.long), weights)
    except (AttributeError, RuntimeError, IndexError, TypeError, AssertionError, ValueError) as error:
        what = (str(error).splitlines() or [type(error).__name__])[0]
        raise _unknown(block, f"they are not where transformers keeps them ({what:.80})") from error
    return found[0], own[0] if isinstance(own, tuple) else own, found[1]


def _numbers(block: MoEBlock, hidden: int) -> Tensor:
    """A few rows as the experts are given them: [4, width]."""
    weights = _weights(block)
    weight, width = next(iter(weights)), hidden
    if block.adapter is None:
        module: Any = _module(block)
        into = module.gate_up_proj if hasattr(module, "gate_up_proj") else module.up_proj
        weight, width = into, into.shape[1 if getattr(module, "is_transposed", False) else 2]
    values = torch.linspace(-1, 1, _ROWS * width, dtype=torch.float64).mul(37).sin()
    return values.view(_ROWS, width).to(weight.device, weight.dtype)


def _weights(block: MoEBlock) -> Iterable[Tensor]:
    return block.block.parameters() if block.adapter is not None else fused_weights(_module(block))


def _check_weights(block: MoEBlock) -> None:
    where = block.experts_name.removesuffix(" (experts)")
    check_alone(where, block.experts if block.adapter is None else block.block, _ELSE)
    for weight in _weights(block):
        check_plain(where, weight, _ELSE)


def _unknown(block: MoEBlock, why: str) -> WorkbenchError:
    where = block.experts_name.removesuffix(" (experts)")
    return WorkbenchError(
        f"The neurons of the experts of layer {block.layer} ('{where}') cannot be computed from their weights: {why}; {_ELSE}."
    )
