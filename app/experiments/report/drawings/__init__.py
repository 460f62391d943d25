"""What a report draws beside the claims' figures: checks before and after, and the experts of a ranking.

checks           every share under one plan and without it, beside every random draw
expert_map       a ranking's scores by layer and expert
ranking_bars     its first experts with their intervals
largest_outputs  the largest output of every expert by layer, and the residual stream
"""

from .checks import checks_chart
from .expert_map import expert_map
from .largest_outputs import largest_outputs
from .ranking_bars import ranking_bars

__all__ = ["checks_chart", "expert_map", "largest_outputs", "ranking_bars"]
