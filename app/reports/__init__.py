"""How a report looks, whatever it reports: one page that needs nothing else, with drawings that follow its light or dark theme.

In reading order: pages (a template of templates/, filled and escaped), svg (pieces of a drawing), ticks (round values).
"""

from .pages import template
from .svg import Scale, band, circle, diamond, figure, line, linear, path, rect, standalone, text
from .ticks import round_values

__all__ = [
    "Scale", "band", "circle", "diamond", "figure", "line", "linear", "path", "rect", "round_values", "standalone",
    "template", "text",
]  # fmt: skip
