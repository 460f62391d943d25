"""The only code that touches a forward: edits it, then records it.

points       places that can be hooked
active       what is in force in this thread of control
guards       what must hold before a block
adapted      blocks that an adapter speaks for
router       the router's choice
experts      slots and their weights
shared       shared experts and their gate
forward      where a forward starts; the residual stream
generating   where the prompt ends
register     which hook belongs to which place
steering     `with steered(model, plan):`
recorded     `with recording(model) as recorder:`
"""

from workbench.hooks.guards import as_it_is
from workbench.hooks.recorded import recording
from workbench.hooks.steering import plan_in_force, steered

__all__ = ["as_it_is", "plan_in_force", "recording", "steered"]
