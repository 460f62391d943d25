"""The page Probes: ask a store which experts go with something, and make a plan of the first.

In reading order: probe_options (the form), volcano and two_probes (the answer drawn), ranking_plan (a plan of it),
side_by_side (every ranking, and which say the same), page.
"""

from .page import show

__all__ = ["show"]
