"""Which experts are selected more in one class of responses than in another.

ftri.py      a target class against the others
contrast.py  the sides of paired prompts
safex.py     what one class uses stably and the other does not
"""

from probes.contrasts.contrast import contrast
from probes.contrasts.ftri import ftri
from probes.contrasts.safex import safex

__all__ = ["contrast", "ftri", "safex"]
