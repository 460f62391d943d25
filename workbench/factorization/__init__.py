"""A dense model becomes a mixture of experts that transformers and the workbench read: its neurons, dealt into groups.

sizes.py      how many groups, shared ones, and routed ones of a token
groups.py     one layer's groups and its router, as values
layers.py     the MoE model's tensors, a layer at a time
rewriting.py  the model: `rewrite`
targets/      which MoE architecture holds a dense model exactly, or what none holds
"""

from .groups import Groups, Router, deal
from .rewriting import MARK, check_by_twin, rewrite
from .sizes import Sizes

__all__ = ["MARK", "Groups", "Router", "Sizes", "check_by_twin", "deal", "rewrite"]
