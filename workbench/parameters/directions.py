"""The directions that neurons and experts read and write in the stream, wherever fused weights keep them."""

from collections.abc import Iterator
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

import torch
from torch import Tensor

from workbench.errors import WorkbenchError
from workbench.model import MoEBlock
from workbench.parameters.matrices import expert_matrices

SIDES = ("read", "gate", "write")


class Directions(NamedTuple):
    """One expert's neurons: by side [neurons, hidden], views."""

    expert: int
    read: Tensor
    """Rows of the up projection."""
    gate: Tensor | None
    """Rows of the gate, where there is one."""
    write: Tensor
    """Columns of the down projection."""


def expert_directions(block: MoEBlock, n_experts: int, hidden: int) -> Iterator[Directions]:
    """Those of every routed expert of a layer that has weights.

    Raises `WorkbenchError` for weights that cannot be read as they are, and where nobody has said which are read and written.
    """
    layout = [getattr(block.experts, name, None) for name in ("has_gate", "is_transposed", "is_concatenated")]
    if block.adapter is not None or None in layout:
        raise WorkbenchError(
            f"Layer {block.layer} ('{block.experts_name}') keeps its experts where transformers does not say which weights read "
            f"the stream and which write it; leave directions out of keep."
        )
    has_gate, transposed, concatenated = layout
    found = sorted(expert_matrices(block, n_experts), key=attrgetter("expert"))
    for expert, group in groupby(found, key=attrgetter("expert")):
        own = {matrix.name: matrix.values for matrix in group}
        into, down = own.get("gate_up_proj" if has_gate else "up_proj"), own.get("down_proj")
        if into is None or down is None or hidden not in into.shape or hidden not in down.shape:
            raise WorkbenchError(
                f"Layer {block.layer} ('{block.experts_name}') has experts of {', '.join(own)}, not of an up and a down "
                f"projection on {hidden} channels; leave directions out of keep."
            )
        read, write = (into.T, down) if transposed else (into, down.T)
        if not has_gate:
            yield Directions(expert, read, None, write)
            continue
        gate, up = read.chunk(2) if concatenated else (read[::2], read[1::2])
        yield Directions(expert, up, gate, write)


def main_write(write: Tensor) -> Tensor:
    """[hidden] the one direction that holds most of what the neurons [neurons, hidden] write, as long as that is.

    The leading singular vector times its value, on the side of the neurons' sum.
    """
    _, values, vectors = torch.linalg.svd(write.float(), full_matrices=False)
    return values[0] * vectors[0] * (1 if write.float().sum(dim=0) @ vectors[0] >= 0 else -1)
