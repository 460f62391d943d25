"""Every probe once, by family: what it asks, what it needs of a store, how its score reads, and which paper it is from.

contrasts.py       between classes, sides of pairs and stores, and what goes with a token
utilisation.py     how much experts are used, what they write, and how tokens travel among them
specialisation.py  what experts are for
importance.py      which experts could go
structure.py       how experts belong together
"""

from probes.entries.contrasts import CONTRASTS
from probes.entries.importance import IMPORTANCE
from probes.entries.specialisation import SPECIALISATION
from probes.entries.structure import STRUCTURE
from probes.entries.utilisation import UTILISATION

ENTRIES = (*CONTRASTS, *UTILISATION, *SPECIALISATION, *IMPORTANCE, *STRUCTURE)

__all__ = ["ENTRIES"]
