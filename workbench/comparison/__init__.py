"""Base against plan against random controls: metrics, distributions, sinks, with intervals.

tables.py          each metric with and without the plan
distributions.py   KL and what a plan moves, token by token
choices.py         multiple choice by log-likelihood
sinks.py           attention on the first tokens
broken.py          where values stop being finite
comparison.py      `compare`
"""

from workbench.comparison.choices import choose
from workbench.comparison.comparison import Comparison, compare, expert_loads
from workbench.comparison.distributions import divergence, given_text
from workbench.comparison.sinks import SinkShare, decay, sink_share, sinks_by_prompt, sinks_of
from workbench.comparison.tables import Measured, check_applies, cluster_keys, metric_values, paired_interval

__all__ = [
    "Comparison",
    "Measured",
    "SinkShare",
    "check_applies",
    "choose",
    "cluster_keys",
    "compare",
    "decay",
    "divergence",
    "expert_loads",
    "given_text",
    "metric_values",
    "paired_interval",
    "sink_share",
    "sinks_by_prompt",
    "sinks_of",
]
