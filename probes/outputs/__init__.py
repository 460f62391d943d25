"""What experts write into the residual stream.

writers.py        what each adds to a massive activation, and who writes one together
super_experts.py  the few that write extreme values
"""

from probes.outputs.super_experts import Thresholds, super_experts, thresholds
from probes.outputs.writers import WritingGroup, writers_of, writing_groups

__all__ = ["Thresholds", "WritingGroup", "super_experts", "thresholds", "writers_of", "writing_groups"]
