"""Who adds what to the residual stream of a running model.

writers.py  attention, every expert and what was there before, at one channel of one token behind one layer
"""

from workbench.attribution.writers import writers

__all__ = ["writers"]
