"""Groups and first routers of every layer, from one forward of the dense model over text."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .grouping import coactive
from .groups import Groups, Router
from .routers import group_sizes, regress
from .sizes import Sizes

MASSIVE = 1000.0
"""A neuron that writes more than this into a channel writes a massive activation; such neurons are kept in one expert."""
_COMPARED = 6000  # tokens that neurons are compared on


class Fitted(NamedTuple):
    """What the layers were cut into, and what chooses among it."""

    groups: list[Groups]
    routers: list[Router]


@torch.no_grad()
def fitted(
    dense: Any,
    rows: Tensor,
    sizes: Sizes,
    ks: Sequence[int],
    *,
    seed: int = 0,
    done: Callable[[int], None] | None = None,
) -> Fitted:
    """Groups by co-activation and routers by regression, of a model with `layers[i].mlp` of gate, up and down projections.

    rows  token ids [rows, length]; a layer's neurons on all of them are in memory at a time
    ks    the numbers of routed experts that routers are to serve
    done  hears of every layer's number when it is fitted
    """
    found, read, hooks = Fitted([], []), dict[int, Tensor](), list[Any]()

    def fit(layer: int, mlp: Any, neurons: Tensor) -> None:
        made = _layer(
            read.pop(layer), neurons.flatten(0, -2).float(), mlp.down_proj.weight.float(), sizes, ks, seed + layer
        )
        found.groups.append(made[0])
        found.routers.append(made[1])
        if done is not None:
            done(layer)

    for layer, block in enumerate(dense.model.layers):
        mlp = block.mlp
        hooks.append(
            mlp.register_forward_pre_hook(lambda _, x, at=layer: read.update({at: x[0].flatten(0, -2).float()}))
        )
        hooks.append(mlp.down_proj.register_forward_pre_hook(lambda _, x, at=layer, own=mlp: fit(at, own, x[0])))
    try:
        dense.model(rows, use_cache=False)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _layer(
    read: Tensor, neurons: Tensor, down: Tensor, sizes: Sizes, ks: Sequence[int], seed: int
) -> tuple[Groups, Router]:
    size = neurons.abs()
    wrote = size.amax(0) * down.abs().amax(0)
    kept = (wrote > MASSIVE).nonzero()[:, 0].tolist()
    drawn = torch.randperm(len(neurons), generator=torch.Generator().manual_seed(seed))[:_COMPARED]
    groups = coactive(size[drawn] * down.norm(dim=0), sizes, kept=kept, seed=seed)
    return groups, regress(read, group_sizes(neurons, down, groups), ks, seed=seed)
