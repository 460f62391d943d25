"""Base against plan against random controls: metrics, distributions, sinks, with intervals.

tables.py          each metric with and without the plan
distributions.py   KL and what a plan moves, token by token
choices.py         multiple choice by log-likelihood
sinks.py           attention on the first tokens
parts.py           a plan as a whole, its experts alone and in pairs, and random ones: loss and sinks
broken.py          where values stop being finite
comparison.py      `compare`
"""

from workbench.comparison.choices import choose
from workbench.comparison.comparison import Comparison, compare, expert_loads
from workbench.comparison.distributions import GivenText, divergence, given_text
from workbench.comparison.parts import Part, each_part, n_parts, parts
from workbench.comparison.sinks import SinkShare, decay, sink_share, sinks_by_prompt, sinks_of
from workbench.comparison.tables import Measured, check_applies, cluster_keys, metric_values, paired_interval

__all__ = [
    "Comparison",
    "GivenText",
    "Measured",
    "Part",
    "SinkShare",
    "check_applies",
    "choose",
    "cluster_keys",
    "compare",
    "decay",
    "divergence",
    "each_part",
    "expert_loads",
    "given_text",
    "metric_values",
    "n_parts",
    "paired_interval",
    "parts",
    "sink_share",
    "sinks_by_prompt",
    "sinks_of",
]
