"""The page Super experts: extreme outputs, massive activations, attention sinks.

In reading order: magnitudes (outputs and the residual stream by layer), sinks_panel (with experts muted), page.
"""

from .page import show

__all__ = ["show"]
