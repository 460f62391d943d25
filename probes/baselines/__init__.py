"""What a claim about experts is held against: what the words that are read say of routing, whatever they are about.

token_keys.py      the word at each token: its id, or its bigram
token_baseline.py  how well the word alone predicts which experts are selected
beyond.py          what is left of selections when the word is known
"""

from probes.baselines.beyond import (
    Beyond,
    Explained,
    explained,
    followed,
    rates_of_rows,
    residual,
    said_of,
    unit_of_row,
)
from probes.baselines.token_baseline import QUESTION, Baseline, baseline_note, token_baseline
from probes.baselines.token_keys import words

__all__ = [
    "QUESTION",
    "Baseline",
    "Beyond",
    "Explained",
    "baseline_note",
    "explained",
    "followed",
    "rates_of_rows",
    "residual",
    "said_of",
    "token_baseline",
    "unit_of_row",
    "words",
]
