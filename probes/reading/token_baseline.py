"""Routing or topic? How well a token's id, or its bigram, alone predicts which experts are selected, on held-out prompts.

Every claim that an expert is for something stands beside this: routing follows the token's identity, so a class of prompts with
words of its own has experts of its own whatever it is about.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from probes.reading.classes import prompt_column
from probes.reading.tokens import prompt_of_row, sequence_of_row
from workbench.resample import joined

if TYPE_CHECKING:
    from workbench.store import Store

_KEYS = 1 << 15  # tokens told apart at once: 32,768 x 128 experts are 32 MB


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
        return f"routing or topic? {shares}, load alone {self.load:.0%} ({self.n:,} tokens)"


def token_baseline(store: "Store", read: np.ndarray, seed: int = 0) -> Baseline | None:
    """Predicts each half of the prompts from the other; read: bool [rows of store.tokens], routed tokens.

    Prompts of one pair or cluster are on one side. None where the store has no token ids, or prompts for one side alone.
    RouterInterp (OpenReview 9a5i2vyMwN; its abstract alone was read) found a recall of 55 % for bigrams on gpt-oss-20b; the
    halves, the fallbacks and ties by load are ours.
    """
    ids: Any = store.tokens["token_id"]
    half = _halves(store, seed)[prompt_of_row(store)]
    if ids.isna().any() or not (read & half).any() or not (read & ~half).any():
        return None
    token = np.unique(ids.to_numpy(np.int64), return_inverse=True)[1]
    sequence = sequence_of_row(store)
    before = np.where(np.diff(sequence, prepend=-1) == 0, np.roll(token, 1) + 1, 0)
    bigram = before * (int(token.max()) + 1) + token
    hits, selections = np.zeros(3), 0
    for layer in store.layers:
        expert, n_experts = store.routing(layer).expert, store.anatomy.layer(layer).n_experts
        for known, asked in ((read & half, read & ~half), (read & ~half, read & half)):
            hits += _hits((token, bigram), expert, np.flatnonzero(known), np.flatnonzero(asked), n_experts)
        selections += int((expert[read] >= 0).sum())
    load, by_token, by_bigram = (hits / selections).tolist()
    return Baseline(load, by_token, by_bigram, int(read.sum()))


def _halves(store: "Store", seed: int) -> np.ndarray:
    """Bool [prompts]: one half of the clusters, drawn by seed."""
    names = (prompt_column(store, name) for name in ("pair", "cluster"))
    cluster = joined(*names, list(range(store.n_prompts)))
    order = np.random.default_rng([seed, 3]).permutation(int(cluster.max()) + 1)
    return order[cluster] < (len(order) + 1) // 2


def _hits(
    keys: tuple[np.ndarray, np.ndarray], expert: np.ndarray, known: np.ndarray, asked: np.ndarray, n_experts: int
) -> np.ndarray:
    """[load, token, bigram] selections of the rows `asked` among the experts predicted from the rows `known`."""
    k, chosen = expert.shape[1], expert[asked]
    load = np.bincount(expert[known][expert[known] >= 0], minlength=n_experts)
    usual = np.zeros(n_experts, bool)
    usual[np.argsort(-load, kind="stable")[:k]] = True
    found = (usual[chosen] & (chosen >= 0)).sum(axis=1)
    hits = [found.sum()]
    for key in keys:
        for rows, predicted in _predicted(key, expert, known, asked, load):
            found[rows] = (predicted & (chosen[rows] >= 0)).sum(axis=1)
        hits.append(found.sum())
    return np.array(hits, np.float64)


def _predicted(
    key: np.ndarray, expert: np.ndarray, known: np.ndarray, asked: np.ndarray, load: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Places in `asked` whose key is known, and which of their selections are predicted: bool [places, slots]."""
    shared = np.intersect1d(key[known], key[asked])
    rank = np.empty(len(load))
    rank[np.argsort(-load, kind="stable")] = 1 - np.arange(1, len(load) + 1) / len(
        load
    )  # it decides between equal counts
    for some in np.split(shared, range(_KEYS, len(shared), _KEYS)) if len(shared) else ():
        rows = known[np.isin(key[known], some)]
        row, slot = np.nonzero(expert[rows] >= 0)
        cell = np.searchsorted(some, key[rows[row]]) * len(load) + expert[rows][row, slot]
        count = np.bincount(cell, minlength=len(some) * len(load)).reshape(len(some), -1) + rank
        k = expert.shape[1]
        first = count >= np.partition(count, -k, axis=1)[:, [-k]]
        places = np.flatnonzero(np.isin(key[asked], some))
        yield places, first[np.searchsorted(some, key[asked[places]])[:, None], expert[asked[places]]]
