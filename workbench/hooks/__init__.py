"""The only code that touches a forward."""

from workbench.hooks.recording import recording
from workbench.hooks.steering import plan_in_force, steered

__all__ = ["plan_in_force", "recording", "steered"]
