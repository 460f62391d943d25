"""Routing or topic? How well a token's id, or its bigram, alone predicts which experts are selected, on held-out prompts.

Every claim that an expert is for something stands beside this: routing follows the token's identity, so a class of prompts with
words of its own has experts of its own whatever it is about.
"""

from collections.abc import Iterator
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from probes.baselines.token_keys import has_words, words
from probes.reading import prompt_column, prompt_of_row
from workbench.resample import joined

if TYPE_CHECKING:
    from workbench.store import Store

QUESTION = "routing or topic?"
"""What every note of the baseline begins with."""
_WORDS = 1 << 15  # words told apart at once: 32,768 x 128 experts are 32 MB
_kept: "WeakKeyDictionary[Store, dict[tuple[bytes, int], Baseline | None]]" = WeakKeyDictionary()


class Baseline(NamedTuple):
    """Recall: the share of selections that are among the k experts which were predicted, over all layers."""

    load: float
    """Where every token is predicted the layer's most used experts."""
    token: float
    """Where a token is predicted what its id selected most in other prompts; as `load` where it was not there."""
    bigram: float
    """By the id and the one before it; as `token` where the two did not occur."""
    n: int
    """Tokens predicted."""

    def __str__(self) -> str:
        shares = f"the token's id alone predicts {self.token:.0%} of what held-out prompts select, its bigram {self.bigram:.0%}"
        return f"{QUESTION} {shares}, load alone {self.load:.0%} ({self.n:,} tokens)"


def token_baseline(store: "Store", read: np.ndarray, seed: int = 0) -> Baseline | None:
    """Predicts each half of the prompts from the other; read: bool [rows of store.tokens], routed tokens.

    Prompts of one pair or cluster are on one side. None where the store has no token ids, or prompts for one side alone. What was
    found for the same rows is kept as long as the store is.
    RouterInterp (OpenReview 9a5i2vyMwN; its abstract alone was read) found a recall of 55 % for bigrams on gpt-oss-20b; the
    halves, the fallbacks and ties by load are ours.
    Memory: some bytes a token, one layer's selections, and counts of 32,768 words at a time.
    """
    kept, about = _kept.setdefault(store, {}), (sha256(read.tobytes()).digest(), seed)
    if about not in kept:
        kept[about] = _baseline(store, read, seed)
    return kept[about]


def _baseline(store: "Store", read: np.ndarray, seed: int) -> Baseline | None:
    half = _halves(store, seed)[prompt_of_row(store)]
    if not has_words(store) or not (read & half).any() or not (read & ~half).any():
        return None
    ends = [(np.flatnonzero(read & ~side), np.flatnonzero(read & side)) for side in (half, ~half)]
    met = [[_met(words(store, by), *end) for by in ("token", "bigram")] for end in ends]
    hits, selections = np.zeros(3), 0
    for layer in store.layers:
        expert, n_experts = store.routing(layer).expert, store.anatomy.layer(layer).n_experts
        for (known, asked), both in zip(ends, met, strict=True):
            hits += _hits(both, expert[known], expert[asked], n_experts)
        selections += int((expert[read] >= 0).sum())
    load, by_token, by_bigram = (hits / selections).tolist()
    return Baseline(load, by_token, by_bigram, int(read.sum()))


def baseline_note(store: "Store", read: np.ndarray, seed: int = 0) -> str:
    """What stands beside every claim about the rows `read`, or why it cannot."""
    found = token_baseline(store, read, seed)
    if found is not None:
        return str(found)
    if not has_words(store):
        return f"{QUESTION} no baseline: the store was captured without text, so its token ids are unknown"
    return f"{QUESTION} no baseline of held-out prompts: there is one cluster of prompts alone"


def _halves(store: "Store", seed: int) -> np.ndarray:
    """Bool [prompts]: one half of the clusters, drawn by seed."""
    names = (prompt_column(store, name) for name in ("pair", "cluster"))
    cluster = joined(*names, list(range(store.n_prompts)))
    order = np.random.default_rng([seed, 3]).permutation(int(cluster.max()) + 1)
    return order[cluster] < (len(order) + 1) // 2


class _Met(NamedTuple):
    """The words that are met on both sides, numbered, and where."""

    n: int
    known: np.ndarray
    """Places among the known rows, by number of the word."""
    of_known: np.ndarray
    asked: np.ndarray
    """Places among the rows asked, likewise."""
    of_asked: np.ndarray


def _met(word: np.ndarray, known: np.ndarray, asked: np.ndarray) -> _Met:
    shared = np.intersect1d(word[known], word[asked])
    if not len(shared):
        return _Met(0, *[np.zeros(0, np.int64)] * 4)
    return _Met(len(shared), *_places(shared, word[known]), *_places(shared, word[asked]))


def _places(shared: np.ndarray, word: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    number = np.minimum(np.searchsorted(shared, word), len(shared) - 1)
    here = np.flatnonzero(shared[number] == word)
    here = here[np.argsort(number[here], kind="stable")]
    return here, number[here]


def _hits(both: list[_Met], known: np.ndarray, asked: np.ndarray, n_experts: int) -> np.ndarray:
    """[load, token, bigram] selections `asked` [tokens, slots] among the experts predicted from `known` [tokens, slots]."""
    k = asked.shape[1]
    load = np.bincount(known[known >= 0], minlength=n_experts)
    usual = np.zeros(n_experts, bool)
    usual[np.argsort(-load, kind="stable")[:k]] = True
    found = (usual[asked] & (asked >= 0)).sum(axis=1)
    hits = [found.sum()]
    for met in both:
        for places, predicted in _predicted(met, known, asked, load):
            found[places] = (predicted & (asked[places] >= 0)).sum(axis=1)
        hits.append(found.sum())
    return np.array(hits, np.float64)


def _predicted(
    met: _Met, known: np.ndarray, asked: np.ndarray, load: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Places asked whose word is known, and which of their selections are predicted: bool [places, slots]."""
    rank = np.empty(len(load))
    rank[np.argsort(-load, kind="stable")] = 1 - np.arange(1, len(load) + 1) / len(load)  # decides between equal counts
    for start in range(0, met.n, _WORDS):
        ends = (start, start + _WORDS)
        here, there = (slice(*np.searchsorted(of, ends).tolist()) for of in (met.of_known, met.of_asked))
        chosen, size = known[met.known[here]], min(_WORDS, met.n - start)
        row, slot = np.nonzero(chosen >= 0)
        cell = (met.of_known[here][row] - start) * len(load) + chosen[row, slot]
        count = np.bincount(cell, minlength=size * len(load)).reshape(size, -1) + rank
        first = count >= np.partition(count, -asked.shape[1], axis=1)[:, [-asked.shape[1]]]
        places = met.asked[there]
        yield places, first[met.of_asked[there][:, None] - start, asked[places]]
