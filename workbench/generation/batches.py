"""Which sequences go through the model together: length-bucketed batches under a token budget, gathered into shards.

Everything here is decided before the first forward and written to `plan.json`, so that a resumed capture makes the same
batches. A sequence is one (prompt, sample); its number is `prompt * samples + sample`.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SHARD_TOKENS = 65_536
"""Tokens (padding included) after which a shard is closed: what a killed capture may have to do again."""


@dataclass(frozen=True)
class Schedule:
    """Batches of sequence numbers, and shards of batch numbers, in the order they are run."""

    batches: tuple[tuple[int, ...], ...]
    shards: tuple[tuple[int, ...], ...]


def schedule(
    lengths: Sequence[int], batch_tokens: int, *, extra: int = 0, shard_tokens: int = SHARD_TOKENS
) -> Schedule:
    """Batches of similar length, the longest first (so that too little memory shows at once).

    lengths: tokens of each sequence before generation. extra: tokens that may be generated for each.
    A batch holds at most `batch_tokens` tokens with padding and generation, or one sequence if that is longer.
    """
    batches: list[tuple[int, ...]] = []
    current: list[int] = []
    for number in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        widest = lengths[current[0] if current else number] + extra
        if current and widest * (len(current) + 1) > batch_tokens:
            batches.append(tuple(current))
            current = []
        current.append(number)
    if current:
        batches.append(tuple(current))
    sizes = [(max(lengths[i] for i in batch) + extra) * len(batch) for batch in batches]
    return Schedule(tuple(batches), _shards(sizes, shard_tokens))


def _shards(sizes: Sequence[int], shard_tokens: int) -> tuple[tuple[int, ...], ...]:
    shards: list[tuple[int, ...]] = []
    current: list[int] = []
    for number, size in enumerate(sizes):
        if current and sum(sizes[i] for i in current) + size > shard_tokens:
            shards.append(tuple(current))
            current = []
        current.append(number)
    return (*shards, tuple(current)) if current else tuple(shards)


def prompt_seeds(ids: Sequence[str], seed: int) -> tuple[int, ...]:
    """A seed per prompt that depends on its id alone, not on its neighbours or their order; below 2**53."""
    return tuple(int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode()).digest()[:8], "big") >> 11 for name in ids)


def padded(rows: Sequence[Sequence[int]], pad: int, *, left: bool) -> tuple[np.ndarray, np.ndarray]:
    """Token ids [rows, longest] int64 and their mask (1 real, 0 padding)."""
    width = max(len(row) for row in rows)
    ids = np.full((len(rows), width), pad, np.int64)
    mask = np.zeros((len(rows), width), np.int64)
    for i, row in enumerate(rows):
        where = slice(width - len(row), width) if left else slice(0, len(row))
        ids[i, where], mask[i, where] = row, 1
    return ids, mask
