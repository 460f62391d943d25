"""Tokens in bundles by the whole of the path that they take, from layer to layer, and the experts that make up each bundle."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from workbench.store import Store

_ROUNDS, _DECIMALS = 50, 9


class Paths(NamedTuple):
    """What some tokens selected."""

    experts: list[np.ndarray]
    """By layer [tokens, slots] numbers of experts, -1 where a slot is empty."""
    sizes: list[int]
    """By layer how many experts there are."""
    size: np.ndarray
    """[tokens] square root of how many each selected, over all layers."""


class Bundles(NamedTuple):
    """Tokens by bundle, the largest first; and by layer [bundles, experts] the share of a bundle's tokens that select each."""

    of: np.ndarray
    shares: list[np.ndarray]


def paths_of(store: "Store", rows: np.ndarray) -> Paths:
    """Those of some rows of store.tokens."""
    experts = [store.routing(layer).expert[rows] for layer in store.layers]
    return _sized(experts, [store.anatomy.layer(layer).n_experts for layer in store.layers])


def shuffled(paths: Paths, seed: int) -> Paths:
    """Each layer's choices dealt anew among the tokens: as they are layer by layer, and nothing from layer to layer."""
    rng = np.random.default_rng([seed, 1])
    return _sized([rng.permutation(expert) for expert in paths.experts], paths.sizes)


def _sized(experts: list[np.ndarray], sizes: list[int]) -> Paths:
    return Paths(experts, sizes, np.sqrt(sum((expert >= 0).sum(axis=1) for expert in experts)))


def bundles(paths: Paths, wanted: int) -> Bundles:
    """K-means by cosine from `_starts`; a bundle that loses all its tokens is dropped, so fewer than `wanted` may be found."""
    centres, of = _starts(paths, wanted), np.full(len(paths.size), -1)
    for _ in range(_ROUNDS):
        moved = likeness(paths, centres).argmax(axis=1)
        if (moved == of).all():
            break
        of = moved
        left = (np.bincount(of, minlength=wanted) == 0)[:, None]
        centres = [np.where(left, old, new) for old, new in zip(centres, _means(paths, of, wanted), strict=True)]
    kept, of, n = np.unique(of, return_inverse=True, return_counts=True)
    order = np.argsort(-n, kind="stable")
    return Bundles(np.argsort(order)[of], [share[kept[order]] for share in centres])


def _starts(paths: Paths, wanted: int) -> list[np.ndarray]:
    """Paths of tokens as centres: the one most like the mean path, then each the least like any before. Nothing is drawn."""
    whole = _means(paths, np.zeros(len(paths.size), np.int64), 1)
    tokens = [int(likeness(paths, whole)[:, 0].argmax())]
    nearest = likeness(paths, _path(paths, tokens[0]))[:, 0]
    while len(tokens) < wanted:
        tokens.append(int(nearest.argmin()))
        nearest = np.maximum(nearest, likeness(paths, _path(paths, tokens[-1]))[:, 0])
    return [np.vstack(shares) for shares in zip(*(_path(paths, token) for token in tokens), strict=True)]


def likeness(paths: Paths, centres: list[np.ndarray]) -> np.ndarray:
    """[tokens, centres] cosine of a path, 1 where an expert is selected, with a centre, rounded so that ties are ties."""
    norm = np.sqrt(sum((share**2).sum(axis=1) for share in centres))
    out = np.zeros((len(paths.size), len(norm)))
    for expert, share in zip(paths.experts, centres, strict=True):
        padded = np.vstack([share.T, np.zeros(len(norm))])  # an empty slot is the last row
        for slot in expert.T:
            out += padded[slot]
    return np.round(out / (paths.size[:, None] * norm), _DECIMALS)


def _means(paths: Paths, of: np.ndarray, n: int) -> list[np.ndarray]:
    """By layer [n, experts] the share of each bundle's tokens that select each; zeros where it has none."""
    count, out = np.bincount(of, minlength=n), []
    for expert, size in zip(paths.experts, paths.sizes, strict=True):
        token, slot = np.nonzero(expert >= 0)
        total = np.bincount(of[token] * size + expert[token, slot], minlength=n * size).reshape(n, size)
        out.append(total / np.maximum(count, 1)[:, None])
    return out


def _path(paths: Paths, token: int) -> list[np.ndarray]:
    """One token's path as a centre, by layer [1, experts]."""
    alone = Paths([expert[[token]] for expert in paths.experts], paths.sizes, paths.size[[token]])
    return _means(alone, np.zeros(1, np.int64), 1)
