"""The only code that touches a forward: edits it, then records it.

points.py       places that can be hooked
active.py       what is in force in this thread of control
guards.py       what must hold before a block
adapted.py      blocks that an adapter speaks for
router.py       the router's choice
experts.py      slots and their weights
shared.py       shared experts and their gate
forward.py      where a forward starts; the residual stream
generating.py   where the prompt ends
register.py     which hook belongs to which place
steering.py     `with steered(model, plan):`
record.py       `with recording(model) as recorder:`
"""

from workbench.hooks.experts import edit_weights
from workbench.hooks.guards import as_it_is, check_here, hooked_by_others, outside_traces
from workbench.hooks.record import recorded, recording
from workbench.hooks.steering import following, joined_plan, plan_in_force, steered, unlike_said

__all__ = [
    "as_it_is",
    "check_here",
    "edit_weights",
    "following",
    "hooked_by_others",
    "joined_plan",
    "outside_traces",
    "plan_in_force",
    "recorded",
    "recording",
    "steered",
    "unlike_said",
]
