"""Several processes that train one student: each reads its share of a step's rows, and what they find is averaged.

`torchrun --nproc-per-node 2 ...` starts them, a core each, and torch.distributed joins them; alone there is nothing to average.
"""

import os
from collections.abc import Iterable

import torch
from torch import Tensor, distributed

from workbench.errors import WorkbenchError


def joined() -> None:
    """Joins the processes that torchrun started, over the loopback; nothing in a process that was started alone."""
    if "TORCHELASTIC_RUN_ID" in os.environ and not distributed.is_initialized():
        distributed.init_process_group("gloo")


def first() -> bool:
    """Whether this process is the one that writes."""
    return not _several() or distributed.get_rank() == 0


def share(rows: Tensor) -> Tensor:
    """This process's rows of a step's [rows, length]; raises `WorkbenchError` where they cannot be shared alike."""
    if not _several():
        return rows
    n = distributed.get_world_size()
    if len(rows) % n:
        raise WorkbenchError(
            f"A step has {len(rows)} rows, which {n} processes cannot share alike; start another number."
        )
    return rows[distributed.get_rank() :: n]


@torch.no_grad()
def average(found: Iterable[Tensor]) -> None:
    """Makes each of these the mean over the processes, in place."""
    several = list(found)
    if not _several() or not several:
        return
    flat = torch.cat([one.reshape(-1).float() for one in several])
    distributed.all_reduce(flat)
    for one, mean in zip(
        several, (flat / distributed.get_world_size()).split([o.numel() for o in several]), strict=True
    ):
        one.copy_(mean.view_as(one))


def _several() -> bool:
    return distributed.is_available() and distributed.is_initialized()
