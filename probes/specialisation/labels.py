"""Labels of experts as words: those that tell most of where one is selected, at a token or before; how they do elsewhere."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

_LEVELS = 3
"""A token has none of a label's words, is one or follows one, or both."""
_BLOCK = 1 << 14


class Side(NamedTuple):
    """Some tokens: the words at them and before them, as numbers from 0, what they selected in a layer, and whose they are."""

    word: np.ndarray
    """[tokens]"""
    before: np.ndarray
    """[tokens], numbers of the same words; one more for the first of a response."""
    expert: np.ndarray
    """[tokens, slots], -1 where a slot is empty."""
    cluster: np.ndarray
    """[tokens]"""


class Told(NamedTuple):
    """The words of every expert of a layer, the most telling first, -1 where it has no more."""

    at: np.ndarray
    """[experts, words]"""
    before: np.ndarray


def labels_of(side: Side, n_words: int, n_experts: int, most: int, evidence: float) -> Told:
    """What tells most of where each expert is selected: `most` words at it and as many before it."""
    return Told(
        *(_telling(word, side.expert, n_words + 1, n_experts, most, evidence) for word in (side.word, side.before))
    )


def _telling(
    word: np.ndarray, expert: np.ndarray, n_words: int, n_experts: int, most: int, evidence: float
) -> np.ndarray:
    """[experts, most] words by k log2(rate / the expert's own rate), of those above it with so much evidence (G)."""
    token, slot = np.nonzero(expert >= 0)
    cell = word[token] * n_experts + expert[token, slot]
    k = np.bincount(cell, minlength=n_words * n_experts).reshape(n_words, n_experts)
    n, rate = np.bincount(word, minlength=n_words), k.sum(axis=0) / max(len(word), 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        bits = np.where(k > 0, k * np.log2(k / (n[:, None] * rate)), 0)
        other = n[:, None] - k
        against = np.where(other > 0, other * np.log2(other / (n[:, None] * (1 - rate))), 0)
    clear = np.round(2 * np.log(2) * (bits + against), 9) >= evidence
    bits = np.where(clear, np.round(bits, 9), 0)
    first = np.argsort(-bits, axis=0, kind="stable")[:most]
    kept = np.take_along_axis(bits, first, axis=0) > 0
    out = np.full((n_experts, most), -1)
    out[:, : len(first)] = np.where(kept, first, -1).T
    return out


def met(side: Side, told: Told, n_words: int, n_clusters: int) -> np.ndarray:
    """[clusters, experts, levels, 2] tokens that have so many of the label's two kinds, not selected and selected."""
    n_experts = len(told.at)
    at, before = (_marks(words, n_words + 1) for words in told)
    out = np.zeros((n_clusters * _LEVELS * 2, n_experts), np.int64)
    for rows in _blocks(len(side.word)):
        level = at[side.word[rows]].astype(np.int64) + before[side.before[rows]]
        chosen = np.zeros(level.shape, np.int64)
        token, slot = np.nonzero(side.expert[rows] >= 0)
        chosen[token, side.expert[rows][token, slot]] = 1
        cell = (side.cluster[rows][:, None] * _LEVELS + level) * 2 + chosen
        flat = cell * n_experts + np.arange(n_experts)
        out += np.bincount(flat.ravel(), minlength=out.size).reshape(out.shape)
    return out.reshape(n_clusters, _LEVELS, 2, n_experts).transpose(0, 3, 1, 2)


def auroc(counts: np.ndarray) -> np.ndarray:
    """[...] from counts [..., levels, 2]: how often a selected token has more of the label than another; ties count half."""
    other, own = counts[..., 0], counts[..., 1]
    below = np.cumsum(other, axis=-1) - other
    pairs = own.sum(axis=-1) * other.sum(axis=-1)
    wins = (own * (below + other / 2)).sum(axis=-1)
    return np.divide(wins, pairs, out=np.full(pairs.shape, np.nan), where=pairs > 0)


def _marks(words: np.ndarray, n_words: int) -> np.ndarray:
    """Bool [words, experts]: which words are of whose label."""
    out = np.zeros((n_words, len(words)), bool)
    expert, place = np.nonzero(words >= 0)
    out[words[expert, place], expert] = True
    return out


def _blocks(n: int) -> Iterator[slice]:
    yield from (slice(start, min(start + _BLOCK, n)) for start in range(0, n, _BLOCK))
