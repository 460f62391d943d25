"""A dense model becomes a mixture of experts that transformers and the workbench read: its neurons, dealt into groups.

sizes.py      how many groups, shared ones, and routed ones of a token
groups.py     one layer's groups and its router, as values
layers.py     the MoE model's tensors, a layer at a time
rewriting.py  the model: `rewrite`
source.py     the dense model as it is given: a folder, a hub id, a GGUF file
folder.py     the MoE model on disk, a shard for each layer
card.py       what its README.md says of where it comes from
factorize.py  all of it, resumable: `factorize`
targets/      which MoE architecture holds a dense model exactly, or what none holds
"""

from .factorize import factorize, write_model
from .groups import Groups, Router, deal
from .rewriting import MARK, rewrite
from .sizes import Sizes
from .source import Dense, open_dense

__all__ = [
    "MARK", "Dense", "Groups", "Router", "Sizes", "deal", "factorize", "open_dense", "rewrite", "write_model",
]  # fmt: skip
