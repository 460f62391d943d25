"""How long a text stays with the same experts: SRP of windows, and hit rates of caches, layer by layer."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from os import cpu_count
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from probes.checked import checked
from probes.ranking import LayerTable
from probes.reading import Tokens, describe, routed_units
from probes.statistics import interval, resampled
from probes.traffic.measured import Asked, Measured, measure, uniform
from probes.traffic.stretches import Block, blocks
from probes.traffic.windows import best_f1, independent
from workbench.errors import WorkbenchError
from workbench.resample import cluster_draws, effective_clusters

if TYPE_CHECKING:
    from workbench.store import Store

LONGEST = 32_000


@checked
def locality(
    store: "Store",
    *,
    windows: list[int] | tuple[int, ...] = (4, 16, 64, 256),
    caches: list[float] | tuple[float, ...] = (1, 2, 4),
    longest: int = 512,
    tokens: Tokens | np.ndarray = "all",
    where: str | None = None,
    cluster: str = "auto",
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> LayerTable:
    """How well a fixed choice of experts serves windows of a text (SRP), and how often a cache holds what is selected.

        f[w, e]  = tokens of window w that select expert e; windows of m tokens that stand together, one from every token on
        F1(a)    = 2 TP / (Pred + Act)    TP: sum of f where f >= a;  Pred: m times how many f >= a;  Act: sum of f
        SRP      = max over a of F1(a), one threshold a for all experts of the layer
        SCH      = selections that find their expert in the cache / selections, where the cache keeps what the next m tokens
                   select most often ("oracle"); beside it LRU and LFU, which can be built

    windows   m. caches: sizes as multiples of how many experts a token selects, rounded. A cache is empty before each stretch
    longest   a text is cut into stretches of so many tokens (the paper's samples have 512); windows lie in a stretch
    tokens    which are read, by default all; one that is left out ends a stretch
    where, cluster, n_bootstrap, seed  as in `usage`; seed also draws the random routing below

    Rows by layer, measure, window and cache: value [0, 1] with its interval; floor, the same where every token selects k of E
    at random (SRP: in the limit of many windows; caches: simulated over as many tokens); load_floor, SRP where each expert
    keeps its own rate and tokens are independent, so that what lies above it is order in time; size, Pred / Act at the best
    threshold. n: windows of SRP, tokens of caches. A window longer than every stretch has no value and no floor (n = 0).
    Constant routing gives SRP 1, uniform routing 2 (k / E) / (1 + k / E) as windows grow: small windows have a high floor.

    Paper: arXiv 2505.16056 and its released code: SRP with one threshold for a layer, windows one token apart, SCH with
    eviction by the next m tokens and recency. Ours: an empty cache before each stretch, ties by expert number, both floors,
    intervals. Not here: the model-level SCH (one cache for all layers) and Belady's rule.

    Not evidence that offloading is fast, which depends on the machine, nor that experts follow topics: a text that repeats
    its words repeats their experts.
    Raises `WorkbenchError` for windows, caches or a length that make no sense, and when no token read was routed.
    Time and memory: one layer at a time and blocks of 32,768 tokens; time grows with tokens x experts x (windows + caches x
    policies).
    """
    asked = Asked(tuple(windows), tuple(caches))
    _check(asked, longest)
    group, sequence = routed_units(store, tokens, None, where)
    clusters = resampled(store, sequence, cluster)
    size = np.bincount(clusters.of_unit[group[group >= 0]]).astype(np.float64)
    cut = [block._replace(unit=clusters.of_unit[block.unit]) for block in blocks(group, longest)]

    def of_layer(layer: int) -> Measured:
        return measure(store.routing(layer).expert, store.anatomy.layer(layer).n_experts, cut, asked, len(size))

    with ThreadPoolExecutor(max_workers=min(2, cpu_count() or 1)) as pool:  # two layers at a time: memory
        found = list(pool.map(of_layer, store.layers))
    even = {
        shape: measure(uniform(len(group), *shape, seed), shape[1], cut, asked, len(size)) for shape in _shapes(found)
    }
    draws = _draws(size, n_bootstrap, seed)
    rows = [
        row
        for layer, one in zip(store.layers, found, strict=True)
        for row in _rows(layer, one, even[one.k, one.n_experts], asked, draws)
    ]
    options = {
        "windows": [*windows],
        "caches": [*caches],
        "longest": longest,
        "tokens": describe(tokens),
        "where": where,
    }
    options |= {"cluster": cluster, "n_bootstrap": n_bootstrap, "seed": seed}
    frame = pd.DataFrame(rows).astype({"layer": "int32", "n": "int64"})
    return LayerTable.of(store, "locality", options, frame, (*_said(found, size, cut, asked), clusters.note))


def _check(asked: Asked, longest: int) -> None:
    if not asked.windows or min(asked.windows) < 1:
        raise WorkbenchError(f"windows={[*asked.windows]} are no numbers of tokens; give one or more, such as [4, 16].")
    if not asked.caches or min(asked.caches) <= 0:
        raise WorkbenchError(f"caches={[*asked.caches]} hold nothing; give multiples of top-k, such as [1, 2].")
    if not 1 <= longest <= LONGEST:
        raise WorkbenchError(f"longest={longest} is no length of a stretch; give 1 to {LONGEST} tokens.")


def _shapes(found: list[Measured]) -> set[tuple[int, int]]:
    return {(one.k, one.n_experts) for one in found}


def _draws(size: np.ndarray, n_draws: int, seed: int) -> np.ndarray:
    """[draws, clusters] how often each cluster is in each resample; none where an interval makes no sense."""
    if n_draws < 1 or len(size) < 2:
        return np.zeros((0, len(size)))
    return cluster_draws(np.arange(len(size)), n_draws, np.random.default_rng([seed, 1]))


def _rows(layer: int, found: Measured, even: Measured, asked: Asked, draws: np.ndarray) -> Iterator[dict[str, Any]]:
    once = np.ones((1, len(found.tokens)))
    value, floor = found.values(once)[0], even.values(once)[0]
    low = high = np.full(len(value), np.nan)
    if len(draws):
        again, n_effective = found.values(draws), effective_clusters(found.tokens, np.arange(len(found.tokens)))
        low, high = interval(lambda block: again[:, block], len(value), len(draws), n_effective)
    for i, about in enumerate(_about(found, asked)):
        yield {"layer": layer, **about, "value": value[i], "low": low[i], "high": high[i]} | _floors(
            i, about, floor, found
        )


def _about(found: Measured, asked: Asked) -> Iterator[dict[str, Any]]:
    """What stands in each column of the values: the measure, its window and cache, and over how much it is counted."""
    for window, frequency in zip(asked.windows, found.windows, strict=True):
        n = int(frequency.sum()) // found.n_experts
        yield {"measure": "SRP", "window": float(window), "cache": np.nan, "n": n}
    for name, window in asked.policies:
        for size in asked.sizes(found.k, found.n_experts):
            yield {"measure": name, "window": window or np.nan, "cache": float(size), "n": int(found.tokens.sum())}


def _floors(i: int, about: dict[str, Any], simulated: np.ndarray, found: Measured) -> dict[str, float]:
    if about["measure"] != "SRP":
        return {"floor": simulated[i], "load_floor": np.nan, "size": np.nan}
    if not about["n"]:  # its floor takes time and memory with the window, and stands beside no value
        return {"floor": np.nan, "load_floor": np.nan, "size": np.nan}
    window, n, tokens = int(about["window"]), found.n_experts, found.tokens.sum()
    loads = independent(found.load / tokens, window)
    size = float(best_f1(found.windows[i].sum(axis=0))[1])
    return {"floor": independent(np.full(n, found.load.sum() / tokens / n), window), "load_floor": loads, "size": size}


def _said(found: list[Measured], size: np.ndarray, cut: list[Block], asked: Asked) -> Iterator[str]:
    n, longest = sum(len(block.row) for block in cut), max(block.row.shape[1] for block in cut)
    yield f"{int(size.sum()):,} tokens read in {n:,} stretches of up to {longest} tokens"
    for i, window in enumerate(asked.windows):
        if window <= longest:
            whole = float(best_f1(np.sum([one.windows[i].sum(axis=0) for one in found], axis=0))[0])
            yield f"all layers with one threshold: SRP {whole:.3f} at {window} tokens"
        else:
            yield f"no SRP at {window} tokens: no stretch is so long"
