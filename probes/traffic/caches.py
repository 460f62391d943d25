"""How many selections find their expert in a cache: one that is emptied before each stretch and updated at every token.

After a token the cache keeps, of what it held and what the token selected, the experts that come first by

    LRU      when they were last selected
    LFU      how often they were selected so far, then as LRU
    oracle   how often the next `window` tokens select them, then as LRU

and at one place the lower number. A cache that holds fewer than the token selected keeps the first of these.
"""

from collections.abc import Iterator

import numpy as np

Policy = tuple[str, int]
"""LRU and LFU with 0, oracle with its window."""


def hits(chosen: np.ndarray, running: np.ndarray, policies: tuple[Policy, ...], sizes: tuple[int, ...]) -> np.ndarray:
    """[policies, sizes, stretches] selections that were in the cache.

    chosen   bool [stretches, tokens, experts]
    running  [stretches, tokens + 1, experts] selections before each token
    """
    n, length, n_experts = chosen.shape
    cache = np.zeros((len(policies), len(sizes), n, n_experts), bool)
    found = np.zeros(cache.shape[:3], np.int64)
    last = np.zeros((n, n_experts), np.int64)
    for t in range(length):
        now = chosen[:, t]
        found += np.count_nonzero(cache & now, axis=-1)
        last[now] = t + 1
        for held, first in zip(cache, _orders(running, t, policies, last), strict=True):
            for one, size in zip(held, sizes, strict=True):
                one[:] = _kept(first, one | now, size)
    return found


def _orders(running: np.ndarray, t: int, policies: tuple[Policy, ...], last: np.ndarray) -> Iterator[np.ndarray]:
    """[stretches, experts] a number from 1, by which a policy ranks experts after token `t`; no two are equal."""
    length, n_experts = running.shape[1] - 1, running.shape[2]
    recent = last * n_experts + np.arange(n_experts, 0, -1)
    for name, window in policies:
        ahead = running[:, min(t + 1 + window, length)] - running[:, t + 1]
        often = {"LRU": 0, "LFU": running[:, t + 1], "oracle": ahead}[name]
        yield recent if name == "LRU" else recent + np.multiply(often, (length + 2) * n_experts, dtype=np.int64)


def _kept(first: np.ndarray, among: np.ndarray, size: int) -> np.ndarray:
    if size >= among.shape[1]:
        return among
    order = np.where(among, first, 0)
    least = np.partition(order, -size, axis=1)[:, -size]
    return among & (order >= least[:, None])
