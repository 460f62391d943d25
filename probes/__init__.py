"""Questions asked of a store: which experts go with a class of responses, a token, a side of a pair; no torch, no model.

Every method takes a store and returns `ExpertScores`: an association with these prompts, not an effect.
"""

from probes.contrast import contrast
from probes.ftri import ftri
from probes.massive import MassiveRule
from probes.npmi import npmi
from probes.safex import safex
from probes.scores import ExpertScores
from probes.super_experts import super_experts
from probes.usage import co_selection, dead_experts, routing_entropy, usage

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
