"""Base against plan against random controls: metrics, distributions, sinks, with intervals.

tables          each metric with and without the plan
distributions   KL and what a plan moves, token by token
choices         multiple choice by log-likelihood
sinks           attention on the first tokens
broken          where values stop being finite
comparison      `compare`
"""

from workbench.comparison.choices import choose
from workbench.comparison.comparison import Comparison, compare, expert_loads
from workbench.comparison.distributions import divergence, given_text
from workbench.comparison.sinks import SinkShare, decay, sink_share, sinks_by_prompt
from workbench.comparison.tables import check_applies, cluster_keys, metric_values, paired_interval

__all__ = [
    "Comparison",
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
]
