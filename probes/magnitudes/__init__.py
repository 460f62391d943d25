"""Where values are extreme: outputs of experts, activations of the residual stream, and the rules that judge them.

extremes.py  the largest output of every expert
massive.py   massive activations, and the layers that form them
rule.py      super experts by published rules, with a guard of ours
"""

from probes.magnitudes.massive import MassiveRule, forming_layers, massive_activations, rule_from
from probes.magnitudes.rule import GUARD, Judged, Rule, judged, verdict

__all__ = [
    "GUARD",
    "Judged",
    "MassiveRule",
    "Rule",
    "forming_layers",
    "judged",
    "massive_activations",
    "rule_from",
    "verdict",
]
