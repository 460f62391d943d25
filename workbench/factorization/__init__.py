"""A dense model becomes a mixture of experts that transformers and the workbench read: its neurons, dealt into groups.

sizes.py      how many groups, shared ones, and routed ones of a token
groups.py     one layer's groups and its router, as values
layers.py     the MoE model's tensors, a layer at a time
rewriting.py  the model: `rewrite`
grouping.py   neurons that are active together
routers.py    a first router, from what each group adds
fitting.py    groups and routers of every layer: `fitted`
source.py     the dense model as it is given: a folder, a hub id, a GGUF file
folder.py     the MoE model on disk, a shard for each layer
card.py       what its README.md says of where it comes from
factorize.py  all of it, resumable: `factorize`
routed.py     with fewer experts on: learned on text, resumable: `factorize_routed`
distilling/   what a model with fewer experts on lost, taught back
targets/      which MoE architecture holds a dense model exactly, or what none holds
"""

from .factorize import digest, factorize, write_model
from .fitting import Fitted, fitted
from .grouping import coactive
from .groups import Groups, Router, deal
from .rewriting import MARK, rewrite
from .routed import Learning, factorize_routed
from .routers import group_sizes, regress
from .sizes import Sizes
from .source import Dense, open_dense

__all__ = [
    "MARK", "Dense", "Fitted", "Groups", "Learning", "Router", "Sizes", "coactive", "deal", "digest", "factorize",
    "factorize_routed", "fitted", "group_sizes", "open_dense", "regress", "rewrite", "write_model",
]  # fmt: skip
