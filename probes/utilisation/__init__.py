"""How much experts are used, whatever is asked.

usage.py         load, rate and mean weight
entropy.py       how evenly each layer routes
co_selection.py  which experts are selected together
dead_experts.py  which experts no token selects
"""

from probes.utilisation.co_selection import co_selection
from probes.utilisation.dead_experts import dead_experts
from probes.utilisation.entropy import routing_entropy, weight_entropy
from probes.utilisation.usage import usage

__all__ = ["co_selection", "dead_experts", "routing_entropy", "usage", "weight_entropy"]
