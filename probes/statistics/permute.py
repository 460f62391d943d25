"""Relabelling under the null: permutations of labels over blocks of units, within strata.

A unit is one response (prompt and sample). A block moves as a whole (a prompt with all its samples, or a whole
cluster); blocks change places only within a stratum (a pair, a cluster, or everything). Strata of one group change alike:
the pairs of a cluster, whose differences are not independent, exchange their labels all together or not at all.
"""

from collections import Counter
from math import lgamma
from typing import NamedTuple

import numpy as np


class Blocks(NamedTuple):
    """Which unit belongs to which block, and in which stratum each block lies."""

    of_unit: np.ndarray
    """[units] block number from 0."""
    stratum: np.ndarray
    """[blocks] stratum number."""
    group: np.ndarray | None = None
    """[blocks] number of the group of strata that are shuffled alike; None: each stratum by itself."""


def permutations(blocks: Blocks, n: int, rng: np.random.Generator) -> np.ndarray:
    """[n, units] int: from which unit each unit takes its label in each of `n` random relabellings.

    A block takes over the labels of another block of its stratum, member by member. Blocks of one stratum must have
    equal sizes, or one label each (the label of the other block's first unit then holds for all).
    """
    moved = _shuffled(blocks, n, rng)
    found = members(blocks)
    source = moved[:, blocks.of_unit]
    member = np.where(found.size[source] > found.rank, found.rank, 0)
    return found.order[found.first[source] + member]


def _shuffled(blocks: Blocks, n: int, rng: np.random.Generator) -> np.ndarray:
    """[n, blocks]: block numbers, shuffled among the blocks of each stratum."""
    order = np.argsort(blocks.stratum, kind="stable")
    codes = np.unique(blocks.stratum[order], return_inverse=True)[1]
    keys = rng.random((n, len(order))) if blocks.group is None else _keys_of_groups(codes, blocks.group[order], n, rng)
    out = np.empty((n, len(order)), np.int64)
    # a uniform draw below 1 never reaches the next stratum
    out[:, order] = order[np.argsort(keys + codes, axis=1, kind="stable")]
    return out


def _keys_of_groups(codes: np.ndarray, group: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """[n, blocks] sorting keys, the same for the first blocks of a group's strata, for their second ones, and so on."""
    rank = np.arange(len(codes)) - np.searchsorted(codes, codes)
    groups = np.unique(group, return_inverse=True)[1]
    keys = rng.random((n, int(groups.max()) + 1, int(rank.max()) + 1))
    return keys[:, groups, rank]


class Members(NamedTuple):
    """Units sorted by block."""

    first: np.ndarray
    """[blocks] where each block starts in `order`."""
    rank: np.ndarray
    """[units] each unit's rank in its block."""
    size: np.ndarray
    """[blocks] units in each block."""
    order: np.ndarray
    """[units] the units, block after block."""


def members(blocks: Blocks) -> Members:
    """The units of each block, in order."""
    size = np.bincount(blocks.of_unit, minlength=len(blocks.stratum))
    first = np.concatenate([[0], np.cumsum(size)[:-1]]).astype(np.int64)
    order = np.argsort(blocks.of_unit, kind="stable")
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order)) - np.repeat(first, size)
    return Members(first, rank, size, order)


def log_relabellings(blocks: Blocks, label: np.ndarray) -> float:
    """Natural logarithm of how many different relabellings there are; `label` is [units].

    Of strata that change alike the one with the most counts; strata of more than two blocks may give more together.
    """
    profile: list[list[int]] = [[] for _ in blocks.stratum]
    for block, value in zip(blocks.of_unit, label, strict=True):
        profile[block].append(int(value))
    strata: dict[int, list[tuple[int, ...]]] = {}
    for stratum, labels in zip(blocks.stratum, profile, strict=True):
        strata.setdefault(int(stratum), []).append(tuple(labels))
    alike = dict(
        zip(blocks.stratum.tolist(), (blocks.stratum if blocks.group is None else blocks.group).tolist(), strict=True)
    )
    found = dict.fromkeys(alike.values(), 0.0)
    for stratum, x in strata.items():
        ways = lgamma(len(x) + 1) - sum(lgamma(n + 1) for n in Counter(x).values())
        found[alike[stratum]] = max(found[alike[stratum]], ways)
    return sum(found.values())


def p_value(observed: np.ndarray, null: np.ndarray) -> np.ndarray:
    """(1 + draws at least as large) / (1 + draws), per column of `null` [draws, columns]; both are distances."""
    return (1 + (null >= threshold(observed)).sum(axis=0)) / (1 + len(null))


def threshold(observed: np.ndarray) -> np.ndarray:
    """What a draw must reach to count as large as `observed`: equal sums added in another order must count as equal."""
    return observed - 1e-9 * np.abs(observed) - 1e-12
