"""Where values are extreme: outputs of experts, activations of the residual stream, and the rules that judge them.

extremes.py  the largest output of every expert
massive.py   layers that form massive activations
rule.py      super experts by published rules, with a guard of ours
"""

from probes.magnitudes.massive import MassiveRule, forming_layers, rule_from
from probes.magnitudes.rule import GUARD, Judged, Rule, judged, verdict

__all__ = ["GUARD", "Judged", "MassiveRule", "Rule", "forming_layers", "judged", "rule_from", "verdict"]
