"""Which experts are selected more in one class of responses than in another, or moved from one store to another.

ftri.py        a target class against the others
contrast.py    the sides of paired prompts
logits.py      what the router wants, chosen or not
neurons.py     neurons of experts that are larger in one class
safex.py       what one class uses stably and the other does not
stores.py      two stores, such as before and after tuning
means.py       how much a mean changes between two stores
comparable.py  whether two stores' expert numbers mean the same
"""

from probes.contrasts.contrast import contrast
from probes.contrasts.ftri import ftri
from probes.contrasts.logits import logit_contrast
from probes.contrasts.neurons import neuron
from probes.contrasts.safex import safex
from probes.contrasts.stores import drift

__all__ = ["contrast", "drift", "ftri", "logit_contrast", "neuron", "safex"]
