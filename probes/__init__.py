"""Questions asked of a store: which experts go with a class of responses, a token, a side of a pair; no torch, no model.

Every method takes a store and returns `ExpertScores`: an association with these prompts, not an effect. From below:

reading, magnitudes  what is read of a store, and where its values are extreme
ranking, statistics  what a probe answers with, and what chance could do
contrasts, associations, utilisation, outputs  the probes: one a file, by what they ask about
"""

from probes.associations import npmi
from probes.contrasts import contrast, ftri, safex
from probes.magnitudes import MassiveRule
from probes.outputs import super_experts
from probes.ranking import ExpertScores
from probes.utilisation import co_selection, dead_experts, routing_entropy, usage

__all__ = [
    "ExpertScores",
    "MassiveRule",
    "co_selection",
    "contrast",
    "dead_experts",
    "ftri",
    "npmi",
    "routing_entropy",
    "safex",
    "super_experts",
    "usage",
]
