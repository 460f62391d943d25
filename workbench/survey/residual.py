"""Where the residual stream is in an MoE layer, and whether the block's output is added to it: read off one forward."""

import torch
from torch import Tensor, nn

from workbench.model import Layout, MoEBlock
from workbench.survey.seen import Seen

_SUM = 2e-2  # a part is a sum of others when what is left over is below this share of its norm


def residual_reason(layout: Layout, block: MoEBlock, seen: Seen, shape: tuple[int, int], hidden: int) -> str | None:
    """Why the residual stream cannot be read at this layer; None when it can."""
    if not layout.layers:
        return "the adapter's layers are not the positions of a list of modules"
    if seen.layer is None or tuple(seen.layer.shape) != (*shape, hidden):
        found = None if seen.layer is None else tuple(seen.layer.shape)
        return f"the layer's output is {found}, not one stream of [batch, tokens, {hidden}]"
    return None


def norm_before(layout: Layout, block: MoEBlock, seen: Seen) -> nn.Module | None:
    """The child of the decoder layer whose output is the MoE block's input: its own input is the residual stream."""
    if not layout.layers or seen.block_input is None:
        return None
    for name, (_, out) in seen.entering.items():
        if out.shape == seen.block_input.shape and torch.equal(out, seen.block_input):
            return layout.layers[block.layer].get_submodule(name)
    return None


def routed_multiplier(seen: Seen) -> float | None:
    """M in layer output = residual + M * routed sum + the rest, by least squares; None when the layer is no such sum.

    The rest are the shared experts in the block, and modules of the layer that work beside it on the same input.
    """
    before = next(
        x for x, out in seen.entering.values() if seen.block_input is not None and torch.equal(out, seen.block_input)
    )
    assert seen.block is not None
    if seen.routed is None or seen.layer is None or seen.layer.shape != before.shape:
        return None
    if seen.routed.numel() != before.numel() or seen.block.numel() != before.numel():
        return None
    inner = _coefficients(_flat(seen.block), [_flat(seen.routed), *_shared(seen)])
    step = _flat(seen.layer) - _flat(before)
    outer = _coefficients(step, [_flat(seen.block), *_beside(seen)])
    if inner is None or outer is None:
        return None
    m = inner[0] * outer[0]
    return 1.0 if abs(m - 1) < _SUM else m


def _flat(tensor: Tensor) -> Tensor:
    return tensor.double().reshape(-1)


def _shared(seen: Seen) -> list[Tensor]:
    if seen.gate is None:
        return [_flat(x) for x in seen.shared.values()]
    gate = seen.gate.double().sigmoid()
    return [_flat(x.double() * gate.reshape(*x.shape[:-1], 1)) for x in seen.shared.values()]


def _beside(seen: Seen) -> list[Tensor]:
    """Outputs of the layer's other children that got the block's own input."""
    assert seen.block_input is not None
    wanted = seen.block_input
    return [
        _flat(out)
        for given, out in seen.entering.values()
        if given.shape == wanted.shape == out.shape and torch.equal(given, wanted)
    ]


def _coefficients(target: Tensor, parts: list[Tensor]) -> list[float] | None:
    """Target = sum of c * part; None when that leaves too much over."""
    matrix = torch.stack(parts, 1)
    solved = torch.linalg.lstsq(matrix, target[:, None]).solution[:, 0]
    left = (target - matrix @ solved).norm()
    return solved.tolist() if left <= _SUM * target.norm().clamp_min(1e-30) else None
