"""The page Super experts: extreme outputs, massive activations, attention sinks.

In reading order: magnitudes (outputs and the residual stream by layer), sinks_panel (with experts muted), together_panel (all
of them, one by one and at random), page.
"""

from .page import show

__all__ = ["show"]
