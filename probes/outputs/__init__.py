"""What experts write into the residual stream.

super_experts.py  the few that write extreme values
"""

from probes.outputs.super_experts import Thresholds, super_experts, thresholds

__all__ = ["Thresholds", "super_experts", "thresholds"]
