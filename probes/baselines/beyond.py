"""What is left of a selection when the word that is read is known: the residual that every score can be asked of.

    rate[v, e]     = mean over the tokens read with word v of  s[t, e]        s: 1 where t selected e, or the weight it gave e
    residual[t, e] = s[t, e] - rate[word of t, e]

The word is a token's id ("token"), or the id with the one before it ("bigram"). Rates are taken over all tokens read, of all
classes together, so labels that change places leave the residuals as they are, and p-values stay exact. A score sums residuals
in place of selections: 0 for an expert whose selection is a function of the word. A word that one class alone has, or that occurs
once, is explained by definition: it says nothing, for or against.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from probes.baselines.token_keys import Word, words
from probes.reading import Read, sequence_of_row

if TYPE_CHECKING:
    from workbench.store import Store

Beyond = Literal["nothing", "token", "bigram"]
_WORDS = 1 << 15  # rates held at once: 32,768 x 128 experts are 32 MB


class Explained(NamedTuple):
    """What words give by themselves."""

    expected: np.ndarray
    """[units, experts] the sum of rates over the unit's tokens."""
    follows: np.ndarray
    """Bool [experts]: selected, and by the same tokens of each word, all or none."""


class Residual(NamedTuple):
    """Counts with what words give taken away, and what to say of it."""

    read: Read
    marks: dict[str, np.ndarray]
    notes: tuple[str, ...]


def residual(store: "Store", read: Read, mask: np.ndarray, beyond: Beyond, *, weighted: bool = False) -> Residual:
    """`read`, whose tokens are those of `mask`, with selections (or weights) that words do not give; as it is for "nothing"."""
    if beyond == "nothing":
        return Residual(read, {}, ())
    unit = unit_of_row(store, read.sequence)
    rows = mask & (unit >= 0) & store.routed_tokens & (store.finite_weights if weighted else True)
    found = explained(store, beyond, rows, rows, unit, len(read.a), weighted=weighted)
    said = said_of(store, beyond, rows, np.where(unit >= 0, read.label[unit], -1), found)
    return Residual(read._replace(a=read.a - found.expected), {followed(beyond): found.follows}, said)


def followed(beyond: Word) -> str:
    """The flag of an expert that follows words."""
    return f"follows the {beyond} alone"


def unit_of_row(store: "Store", sequence: np.ndarray) -> np.ndarray:
    """[rows of store.tokens] place of the row's response in `sequence`, -1 where it is not there."""
    number = np.full(store.n_prompts * store.n_samples, -1)
    number[sequence] = np.arange(len(sequence))
    return number[sequence_of_row(store)]


def said_of(store: "Store", by: Word, rows: np.ndarray, side: np.ndarray, found: Explained) -> tuple[str, ...]:
    """How many of the tokens have a word that is met on several sides, and how many experts follow words; side: [rows]."""
    word = np.unique(words(store, by)[rows], return_inverse=True)[1]
    low, high = np.full(int(word.max()) + 1, np.iinfo(np.int64).max), np.full(int(word.max()) + 1, -1)
    np.minimum.at(low, word, side[rows])
    np.maximum.at(high, word, side[rows])
    share = float((low < high)[word].mean())
    told = f"{share:.0%} of the tokens read have a {by} that several sides have, and these alone can differ"
    n = int(found.follows.sum())
    return (
        f"beyond the {by}: selections without what each {by}'s own rate gives; {told}; {n} experts follow it alone",
    )


def explained(
    store: "Store",
    by: Word,
    read: np.ndarray,
    at: np.ndarray,
    unit: np.ndarray,
    n_units: int,
    *,
    weighted: bool = False,
) -> Explained:
    """Rates over the rows `read`, summed over the rows `at`, which are among them, by `unit` [rows of store.tokens].

    Memory: 8 bytes a unit and expert, one layer's selections, and the rates of 32,768 words.
    Raises `WorkbenchError` for a store without token ids.
    """
    rows = np.flatnonzero(read)
    word = np.unique(words(store, by)[rows], return_inverse=True)[1]
    order = np.lexsort((unit[rows], word // _WORDS))
    rows, word = rows[order], word[order]
    starts = np.searchsorted(word // _WORDS, np.arange(int(word.max(initial=0)) // _WORDS + 2)).tolist()
    parts: list[np.ndarray] = []
    ends: list[np.ndarray] = []
    for layer in store.layers:
        routing, n_experts = store.routing(layer), store.anatomy.layer(layer).n_experts
        out, within, whole = np.zeros((n_units, n_experts)), np.zeros(n_experts), np.zeros(n_experts)
        for i, (a, b) in enumerate(pairwise(starts)):
            here, code = rows[a:b], word[a:b] - i * _WORDS
            rate, left, square = _rates(
                code, routing.expert[here], routing.weight[here] if weighted else None, n_experts
            )
            _add(out, rate, code[at[here]], unit[here][at[here]])
            within, whole = within + left, whole + square
        parts.append(out)
        ends.append((whole > 0) & (within <= 1e-9 * whole))
    return Explained(np.concatenate(parts, axis=1), np.concatenate(ends))


def rates_of_rows(store: "Store", by: Word, read: np.ndarray, layer: int) -> Callable[[np.ndarray], np.ndarray]:
    """From rows of store.tokens that are read [n] to the rates of their words in a layer [n, experts].

    Memory: the rates of all words that are read, 8 bytes a word and expert.
    """
    rows = np.flatnonzero(read)
    code = np.full(len(read), -1)
    code[rows] = np.unique(words(store, by)[rows], return_inverse=True)[1]
    rate = _rates(code[rows], store.routing(layer).expert[rows], None, store.anatomy.layer(layer).n_experts)[0]
    return lambda some: rate[code[some]]


def _rates(
    code: np.ndarray, expert: np.ndarray, weight: np.ndarray | None, n_experts: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """[words, experts] rates; by expert the sum of squares around them, and the sum of squares."""
    times = np.bincount(code)
    row, slot = np.nonzero(expert >= 0)
    chosen = expert[row, slot]
    value = np.ones(len(row)) if weight is None else weight[row, slot].astype(np.float64)
    summed = np.bincount(code[row] * n_experts + chosen, value, len(times) * n_experts).reshape(-1, n_experts)
    rate = np.divide(summed, times[:, None], out=np.zeros_like(summed), where=times[:, None] > 0)
    square = np.bincount(chosen, value**2, n_experts)
    return rate, square - (times[:, None] * rate**2).sum(axis=0), square


def _add(out: np.ndarray, rate: np.ndarray, code: np.ndarray, unit: np.ndarray) -> None:
    """Adds each token's rates to its unit's row; tokens are in order of unit."""
    for start in range(0, len(code), _WORDS):
        some = unit[start : start + _WORDS]
        units, first = np.unique(some, return_index=True)
        out[units] += np.add.reduceat(rate[code[start : start + _WORDS]], first, axis=0)
