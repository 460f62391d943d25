"""A run as a page, or several runs side by side: every number out of the run's tables.

In reading order: labels (what an arm is called), facts (one claim), words and figures (the facts as sentences and drawing),
headline (everything measured under the first claim's plan), opening (what the page begins with), effect_tables and
expert_tables and examples (the rest of it), experts (rankings, drawn), drawings/ (what is not a claim's figure), report (the
page), summary (the same for a terminal), comparison (several runs).
"""

from .comparison import write_comparison
from .report import write_report
from .summary import summaries

__all__ = ["summaries", "write_comparison", "write_report"]
