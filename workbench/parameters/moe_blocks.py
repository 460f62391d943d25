"""The MoE layers whose weights are read."""

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from workbench.model import MoEBlock, Runtime, find_layout, unwrapped

if TYPE_CHECKING:
    from workbench.model import MoEModel


def moe_blocks(model: "MoEModel", layers: Collection[int] | None) -> Iterator[tuple[MoEBlock, int]]:
    """Each with how many experts it routes among; as the model's own modules, whatever is wrapped around them."""
    yield from blocks_of(model.runtime, layers)


def blocks_of(runtime: Runtime, layers: Collection[int] | None) -> Iterator[tuple[MoEBlock, int]]:
    """`moe_blocks` of a model that was looked at."""
    with unwrapped(runtime.hf):
        found = find_layout(runtime.hf, runtime.adapter).blocks
    for layer, block in found.items():
        if layers is None or layer in layers:
            yield block, runtime.anatomy.layer(layer).n_experts
