"""Which experts go with a token, a role or a label.

npmi.py  normalised pointwise mutual information, summed over signed markers
"""

from probes.associations.npmi import npmi

__all__ = ["npmi"]
