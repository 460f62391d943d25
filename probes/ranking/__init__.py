"""What a probe answers with: every expert ranked, flagged, and with what to be told; or a table of something else.

refs.py      the experts that rows of a table name
scores.py    `ExpertScores`, the answer, and its files
files.py     a table as a file that gives it back
tables.py    the other answers: rows about layers, pairs, sets of experts, tokens
marks.py     flags and notes: super, dead, tied, not finite, captured under a plan
assemble.py  from arrays by expert to the answer
"""

from probes.ranking.assemble import assemble
from probes.ranking.files import about_of, opened, parquet_written, text_of
from probes.ranking.marks import DEAD, NOT_FINITE, SUPER_EXPERT, TIES, join_flags, not_finite_note, steering_note, tied
from probes.ranking.refs import ref_of, refs_of
from probes.ranking.scores import ExpertScores, ranked, said, telling
from probes.ranking.tables import NO_ROW, LayerTable, PairTable, SetTable, Table, TokenTable

__all__ = [
    "DEAD",
    "NOT_FINITE",
    "NO_ROW",
    "SUPER_EXPERT",
    "TIES",
    "ExpertScores",
    "LayerTable",
    "PairTable",
    "SetTable",
    "Table",
    "TokenTable",
    "about_of",
    "assemble",
    "join_flags",
    "not_finite_note",
    "opened",
    "parquet_written",
    "ranked",
    "ref_of",
    "refs_of",
    "said",
    "steering_note",
    "telling",
    "text_of",
    "tied",
]
