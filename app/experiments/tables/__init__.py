"""A finished run as tables: their schemas, effects with intervals and corrected p-values, a verdict for each claim.

In reading order: schema (every column), effects (a plan beside the bare model and random experts), claims (the rule of the
verdicts), tables (all of them, out of the files of units). `tables.tables.write_tables` is imported from its file: it reads
what the engine left and so brings torch, which nobody needs to read a finished run.
"""

from .claims import ABSENT, APPEARS, UNDECIDED, arm_of, at_least, claims_table, paper_change
from .schema import TABLES, read_table, read_tables, write_table

__all__ = [
    "ABSENT", "APPEARS", "TABLES", "UNDECIDED", "arm_of", "at_least", "claims_table", "paper_change", "read_table",
    "read_tables", "write_table",
]  # fmt: skip
