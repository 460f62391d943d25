"""Every probe, once: what it asks, what it needs of a store, how its score reads, and which paper it is from.

The command line, recipes, the dashboard and the README read this and list no probe themselves.
"""

from probes.entries import ENTRIES
from probes.method import Method, Need, Reading, asked_of, ranking

__all__ = ["ASKED", "METHODS", "RANKERS", "Method", "Need", "Reading", "asked", "ranker"]

METHODS = ENTRIES
RANKERS = {method.name: method for method in METHODS if method.ranks}
"""By name, the probes that rank every expert."""
ASKED = {method.name: method for method in METHODS}
"""By name, every probe: the command line and the dashboard ask those that rank, and those that answer with a table."""


def asked(name: str) -> Method:
    """The probe of this name; `WorkbenchError` with the names that exist when there is none."""
    return asked_of(ASKED, name)


def ranker(name: str) -> Method:
    """The probe of this name that ranks; `WorkbenchError` with those that do when it answers something else."""
    return ranking(asked(name), RANKERS)
