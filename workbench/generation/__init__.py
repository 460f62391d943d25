"""Batches and the one decode loop.

batches.py    sequences of like length, padded, with seeds
decoding.py   what chooses each next token
loop.py       prefill, and one forward per chosen token
"""

from workbench.generation.batches import SHARD_TOKENS, Schedule, padded, prompt_seeds, schedule
from workbench.generation.decoding import SHAPING, Choosing, Decoding, Generated, Made, decoding_of, generated, plain
from workbench.generation.loop import decoded

__all__ = [
    "SHAPING",
    "SHARD_TOKENS",
    "Choosing",
    "Decoding",
    "Generated",
    "Made",
    "Schedule",
    "decoded",
    "decoding_of",
    "generated",
    "padded",
    "plain",
    "prompt_seeds",
    "schedule",
]
