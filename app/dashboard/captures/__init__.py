"""The page Captures and runs: what is being captured, a new capture, stores, experiment runs.

In reading order: jobs (captures beside the pages), unfinished (those that were stopped), prompt_sources and
capture_form (a new one), jobs_panel, store_rows and stores_panel (what is there), runs and runs_panel (experiments), page.
"""

from .page import show

__all__ = ["show"]
