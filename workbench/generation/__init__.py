"""Batches and the one decode loop.

batches    sequences of like length, padded, with seeds
decoding   what chooses each next token
"""

from workbench.generation.batches import SHARD_TOKENS, Schedule, padded, prompt_seeds, schedule
from workbench.generation.decoding import Choosing, Decoding, Response, decoding_of

__all__ = [
    "SHARD_TOKENS",
    "Choosing",
    "Decoding",
    "Response",
    "Schedule",
    "decoding_of",
    "padded",
    "prompt_seeds",
    "schedule",
]
