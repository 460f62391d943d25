"""`counting_on`: a store whose selections are counted by several processes, each some of its shards, and merged."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from workbench.paths import Address
from workbench.progress import Report
from workbench.replicas.cluster import Cluster
from workbench.replicas.pool import Pool
from workbench.store import Counts, Store, open_store, routed_per_group, selections

SHARES = 4
"""Shares of the store for each worker, so that a slow or lost one holds up little."""


class Counter:
    """A worker's side: it opens the store and counts a share of it."""

    def __init__(self, place: str, incomplete: bool, rank: int, world: int, tell: Report) -> None:
        self.place, self.incomplete = place, incomplete

    def count(self, share: tuple[int, int], *asked: Any) -> tuple[np.ndarray, np.ndarray]:
        """Which groups the share has, and their selections: [layers, those groups, experts]."""
        n = selections(self._store, *asked, share=share)
        groups = np.flatnonzero(n.any(axis=(0, 2)))
        return groups, n[:, groups]

    @cached_property
    def _store(self) -> Store:
        return open_store(self.place, incomplete=self.incomplete)


@dataclass(frozen=True, eq=False, repr=False)
class SpreadStore(Store):
    """A store that is counted by workers; whatever else is asked of it, this process reads."""

    pool: Pool | None = None

    def counts(
        self,
        tokens: np.ndarray | None = None,
        by: Literal["prompt"] | np.ndarray = "prompt",
        value: Literal["count", "weight"] = "count",
        layers: Iterable[int] | None = None,
    ) -> Counts:
        """As `Store.counts`. Counts are the same; sums of weights are added in another order, equal to 1e-12 of themselves.

        Here and in each worker lie the counts and a few numbers for each token, never the slots of more than a shard's layer.
        """
        assert self.pool is not None
        tokens_of, chosen = routed_per_group(self, tokens, by), self.layers if layers is None else tuple(layers)
        n_shares = SHARES * self.pool.size
        asked = (self.pool.shared(tokens), self.pool.shared(by), value, chosen)
        calls = {str(i): ((i, n_shares), *asked) for i in range(n_shares)}
        merged: np.ndarray | None = None
        for _, (groups, n) in self.pool.spread("count", calls):
            if merged is None:
                merged = np.zeros((n.shape[0], len(tokens_of), n.shape[2]), n.dtype)
            merged[:, groups] += n
        assert merged is not None
        return Counts(merged.transpose(1, 0, 2), tokens_of, chosen)


@contextmanager
def counting_on(cluster: Cluster, path: str | Path | Address, *, incomplete: bool = False) -> Iterator[Store]:
    """The store at `path`, which every machine reaches, counted by `cluster.workers` processes during the block.

    Raises `WorkbenchError` as `open_store` does, and for a cluster that is not reached or too small.
    """
    store = open_store(path, incomplete=incomplete)
    place = store.path.resolve() if isinstance(store.path, Path) else store.path
    with cluster.running() as ray:
        pool = Pool(ray, cluster, partial(Counter, str(place), incomplete))
        yield SpreadStore(place, store.plan_json, store.manifest, incomplete, pool)
