"""What one layer's routing comes to in windows and caches, counted by cluster, so that clusters can be drawn anew."""

from typing import NamedTuple

import numpy as np

from probes.traffic.caches import Policy, hits
from probes.traffic.stretches import Block
from probes.traffic.windows import best_f1, frequencies


class Asked(NamedTuple):
    """Which windows and caches."""

    windows: tuple[int, ...]
    caches: tuple[float, ...]

    @property
    def policies(self) -> tuple[Policy, ...]:
        """LRU, LFU and the oracle of each window."""
        return ("LRU", 0), ("LFU", 0), *(("oracle", window) for window in self.windows)

    def sizes(self, k: int, n_experts: int) -> tuple[int, ...]:
        """How many experts each cache holds; two that hold all are one."""
        return tuple(dict.fromkeys(min(n_experts, max(1, round(cache * k))) for cache in self.caches))


class Measured(NamedTuple):
    """Counts by cluster."""

    windows: tuple[np.ndarray, ...]
    """Of each window [clusters, window + 1]: windows times experts by frequency; cut where no stretch is so long."""
    hits: np.ndarray
    """[clusters, policies * caches]"""
    selections: np.ndarray
    """[clusters]"""
    tokens: np.ndarray
    """[clusters] float64"""
    load: np.ndarray
    """[experts] selections."""
    k: int
    """How many experts a token selects."""

    @property
    def n_experts(self) -> int:
        """How many the layer has."""
        return len(self.load)

    def values(self, weight: np.ndarray) -> np.ndarray:
        """[draws, windows + policies * caches] SRP, then hit rates; weight [draws, clusters]; null where nothing was counted."""
        shared = [best_f1(weight @ frequency)[0] for frequency in self.windows]
        with np.errstate(invalid="ignore", divide="ignore"):
            rates = weight @ self.hits / (weight @ self.selections)[:, None]
        return np.concatenate([np.stack(shared, axis=1), rates] if shared else [rates], axis=1)


def measure(expert: np.ndarray, n_experts: int, cut: list[Block], asked: Asked, n_clusters: int) -> Measured:
    """Counts one layer; expert [rows of store.tokens, slots], the blocks' units are clusters."""
    sizes = asked.sizes(expert.shape[1], n_experts)
    beyond = (
        max((block.row.shape[1] for block in cut), default=0) + 1
    )  # every longer window finds as little as this one
    lengths = [min(window, beyond) for window in asked.windows]
    windows = [np.zeros((n_clusters, window + 1), np.int64) for window in lengths]
    found = np.zeros((n_clusters, len(asked.policies) * len(sizes)), np.int64)
    selections, tokens = np.zeros(n_clusters, np.int64), np.zeros(n_clusters)
    load = np.zeros(n_experts, np.int64)
    for block in cut:
        chosen = block.selected(expert, n_experts)
        running = np.zeros((len(chosen), chosen.shape[1] + 1, n_experts), np.int16)
        np.cumsum(chosen, axis=1, out=running[:, 1:])
        for total, window in zip(windows, lengths, strict=True):
            total += frequencies(running, block.length, block.unit, window, n_clusters)
        held = hits(chosen, running, asked.policies, sizes)
        np.add.at(found, block.unit, held.reshape(-1, len(chosen)).T)
        np.add.at(selections, block.unit, np.count_nonzero(chosen, axis=(1, 2)))
        np.add.at(tokens, block.unit, block.length)
        load += chosen.sum(axis=(0, 1))
    return Measured(tuple(windows), found, selections, tokens, load, expert.shape[1])


def uniform(n_rows: int, k: int, n_experts: int, seed: int) -> np.ndarray:
    """[rows, k] experts that every token draws evenly and without regard to any other."""
    rng = np.random.default_rng([seed, 2])
    drawn = [
        rng.random((min(4096, n_rows - at), n_experts)).argpartition(k - 1, axis=1) for at in range(0, n_rows, 4096)
    ]
    return np.concatenate([some[:, :k] for some in drawn])
