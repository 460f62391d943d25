"""What to change in a model, as a value that prints, parses and is refused where it cannot be done. No torch.

edits      one edit: off, drop, mute, force, scale, bias, replace, and where it holds
feasible   whether a model can do the edits
controls   the same edits on random experts
plan       a set of edits: text, JSON, joining
"""

from workbench.plan.edits import ROUTING_KINDS, VALUED_KINDS, Edit, Kind, Scope
from workbench.plan.plan import Plan

__all__ = ["ROUTING_KINDS", "VALUED_KINDS", "Edit", "Kind", "Plan", "Scope"]
