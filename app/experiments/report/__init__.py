"""A run as a page, or several runs side by side: every number out of the run's tables.

In reading order: labels (what an arm is called), facts (one claim), words and figures (the facts as sentences and drawing),
effect_tables and expert_tables and examples (the rest of the page), report (the page), comparison (several runs).
"""

from .comparison import write_comparison
from .report import write_report

__all__ = ["write_comparison", "write_report"]
