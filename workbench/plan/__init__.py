"""What to change in a model, as a value that prints, parses and is refused where it cannot be done. No torch.

edits.py      one edit: off, drop, mute, force, scale, bias, replace, and where it holds
feasible.py   whether a model can do the edits
controls.py   the same edits on random experts
plan.py       a set of edits: text, JSON, joining
sent.py       one out of text that somebody sent: no files, bounded
"""

from workbench.plan.edits import KINDS, ROUTING_KINDS, VALUED_KINDS, Edit, Kind, Scope
from workbench.plan.plan import Plan, as_plan
from workbench.plan.sent import sent_plan

__all__ = ["KINDS", "ROUTING_KINDS", "VALUED_KINDS", "Edit", "Kind", "Plan", "Scope", "as_plan", "sent_plan"]
