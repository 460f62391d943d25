"""How often a 95 % interval holds the true value: `python -m tests.coverage` simulates prompts with pairs and clusters.

Each design is simulated 1,000 times (or as often as is asked: `python -m tests.coverage 4000`). What is true is known: prompts
of one cluster share an effect, prompts of one pair another, and the intervals are those of `compare` and of the probes.
"""

import sys
from collections.abc import Callable
from statistics import NormalDist
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from probes.associations.npmi import resampled_interval as npmi_interval
from probes.reading import Counted
from probes.statistics import Exchange, Sample, class_members, difference, exchange, resampled
from probes.utilisation.usage import resampled_interval as usage_interval
from workbench import read_prompts
from workbench.comparison import cluster_keys, paired_interval

TIMES = 1000
SEEDS = 5
"""Bootstraps are drawn this often anew, so that no set of draws decides."""


class Design(NamedTuple):
    """Prompts by number: the pair and the cluster of each, and its class (0 or 1)."""

    pair: list[str | None]
    cluster: list[str | None]
    label: np.ndarray

    @property
    def truth(self) -> np.ndarray:
        """[prompts] which share an effect, found by this file's own walk over shared names."""
        group = np.arange(len(self.label))
        for _ in range(len(group)):
            before = group.copy()
            for names in (self.pair, self.cluster):
                for name in {n for n in names if n is not None}:
                    members = [i for i, n in enumerate(names) if n == name]
                    group[members] = group[members].min()
            if (group == before).all():
                break
        return np.unique(group, return_inverse=True)[1]


def paired(sizes: list[int]) -> Design:
    """Clusters of so many pairs; each pair has a prompt of either class."""
    cluster = [f"c{c}" for c, n in enumerate(sizes) for _ in range(2 * n)]
    pair = [f"p{i // 2}" for i in range(len(cluster))]
    return Design(list(pair), list(cluster), np.arange(len(cluster)) % 2)


def crossing(n: int) -> Design:
    """Clusters of two prompts of one class; each pair joins prompts of two clusters, so that four clusters hang together."""
    cluster = [f"c{i // 2}" for i in range(8 * n)]
    label = np.array([(i // 2) % 2 for i in range(8 * n)])
    pair = [f"p{i // 8}.{(i % 8) // 4}.{i % 2}" for i in range(8 * n)]
    pair[3::8] = pair[4::8] = [f"q{k}" for k in range(n)]  # the two squares of eight prompts share a pair
    return Design(list(pair), list(cluster), label)


def designs() -> dict[str, Design]:
    """The bundled prompts as they are, pairs across clusters, pairs alone, and few clusters."""
    found: dict[str, Design] = {}
    for name in ("refusal", "refusal_heldout"):
        prompts = read_prompts(name)
        label = np.array([int(p.labels["sensitive"] == "no") for p in prompts])
        found[name] = Design([p.pair for p in prompts], [p.cluster for p in prompts], label)
    found["pairs across clusters, 30 joined"] = crossing(30)
    alone = paired([1] * 40)
    found["40 pairs without clusters"] = alone._replace(cluster=[None] * 80)
    found["20 clusters of 3 pairs"] = paired([3] * 20)
    found["10 clusters of 4 pairs"] = paired([4] * 10)
    found["6 clusters of 5 pairs"] = paired([5] * 6)
    return found


# ---- what is measured


def values(design: Design, times: int, rng: np.random.Generator, effect: float = 0.0) -> np.ndarray:
    """[times, prompts] normal values: of its cluster, of its class in its cluster, of its pair, its own; `effect` in class 0."""
    truth, n = design.truth, len(design.label)
    pair = np.unique([p or f"alone {i}" for i, p in enumerate(design.pair)], return_inverse=True)[1]
    shared = rng.normal(0, 0.6, (times, int(truth.max()) + 1))
    turned = rng.normal(0, 0.4, (times, int(truth.max()) + 1))
    noise = rng.normal(0, 0.5, (times, int(pair.max()) + 1))[:, pair] + rng.normal(0, 0.6, (times, n))
    return shared[:, truth] + (effect + turned[:, truth]) * (design.label == 0) + noise


def held(intervals: list[tuple[float, float]], true: float) -> int:
    """How many intervals hold the value."""
    return sum(low <= true <= high for low, high in intervals)


def groups(design: Design) -> np.ndarray:
    """[prompts] what `compare` resamples."""
    rows = zip(design.pair, design.cluster, strict=True)
    prompts = [
        {"id": f"i{i}", "text": "x"} | {k: v for k, v in (("pair", p), ("cluster", c)) if v}
        for i, (p, c) in enumerate(rows)
    ]
    return np.unique(cluster_keys(read_prompts(prompts)), return_inverse=True)[1]


def compare_number(design: Design, times: int, rng: np.random.Generator) -> float:
    """`compare` of a number whose mean moves by 0.5."""
    moved, clusters, base = 0.5 + values(design, times, rng), groups(design), np.zeros(len(design.label))
    return held([paired_interval(base, row, clusters, i % SEEDS) for i, row in enumerate(moved)], 0.5) / times


def compare_share(design: Design, times: int, rng: np.random.Generator, turned: float = 0.3) -> float:
    """`compare` of yes and no: 0.7 of the prompts say yes, and a plan turns 0.3 of them to no, cluster by cluster alike."""
    latent = values(design, times, rng) / np.sqrt(0.6**2 + 0.5**2 + 0.6**2 + (0.4**2) * (design.label == 0))
    yes, clusters = rng.random((times, len(design.label))) < 0.7, groups(design)
    stays = latent > NormalDist().inv_cdf(turned)
    pairs = zip(yes.astype(float), (yes & stays).astype(float), strict=True)
    return held([paired_interval(a, b, clusters, i % SEEDS) for i, (a, b) in enumerate(pairs)], -0.7 * turned) / times


def compare_rare(design: Design, times: int, rng: np.random.Generator) -> float:
    """The same, where a plan turns 0.1 of them: few clusters change at all, and a resample knows only these."""
    return compare_share(design, times, rng, 0.1)


# ---- what probes score: every column is one simulated expert


def of_store(design: Design) -> Exchange:
    """Who exchanges and who is resampled, as the probes find it."""
    return exchange(_store(design), np.arange(len(design.label)), design.label)


def _store(design: Design) -> Any:
    return SimpleNamespace(
        prompts=pd.DataFrame({"pair": design.pair, "cluster": design.cluster}), n_samples=1, path="s"
    )


def _chunks(times: int) -> list[tuple[int, int]]:
    return [(seed, times // SEEDS) for seed in range(SEEDS)]


def ftri_covers(design: Design, times: int, rng: np.random.Generator) -> float:
    """fTRI: the difference of two class means of a share of tokens."""
    who, found = of_store(design), 0
    for seed, n in _chunks(times):
        a = 0.3 + 0.05 * values(design, n, rng, effect=1.0).T
        sample = Sample(a, np.ones(len(a)), class_members(design.label, 2), np.array([1.0, -1.0]))
        estimate = difference(sample, who, 0, 1000, seed, "max")
        found += held(list(zip(estimate.low, estimate.high, strict=True)), 0.05)
    return found / times


def contrast_covers(design: Design, times: int, rng: np.random.Generator) -> float:
    """contrast: the difference of two rates pooled over tokens, of prompts of 5 to 40 tokens."""
    who, found = of_store(design), 0
    tokens = rng.integers(5, 40, len(design.label)).astype(float)
    for seed, n in _chunks(times):
        rate = 0.3 + 0.05 * values(design, n, rng, effect=1.0).T
        a = rng.binomial(tokens.astype(int)[:, None], rate.clip(0, 1)).astype(float)
        sample = Sample(a, tokens, class_members(design.label, 2), np.array([1.0, -1.0]))
        estimate = difference(sample, who, 0, 1000, seed, "max")
        found += held(list(zip(estimate.low, estimate.high, strict=True)), 0.05)
    return found / times


def usage_covers(design: Design, times: int, rng: np.random.Generator) -> float:
    """usage: a rate pooled over tokens."""
    cluster, found = resampled(_store(design), np.arange(len(design.label))).of_unit, 0
    tokens = rng.integers(5, 40, len(design.label)).astype(float)
    for seed, n in _chunks(times):
        rate = 0.3 + 0.05 * values(design, n, rng).T
        a = rng.binomial(tokens.astype(int)[:, None], rate.clip(0, 1)).astype(float)
        low, high, _ = usage_interval(a, tokens, np.ones(n), cluster, 1000, seed)
        found += held(list(zip(low, high, strict=True)), 0.3)
    return found / times


def npmi_covers(design: Design, times: int, rng: np.random.Generator) -> float:
    """npmi: three markers among 20 tokens of every response; the expert is at 0.5 of markers and at 0.2 of other tokens."""
    cluster, found = resampled(_store(design), np.arange(len(design.label))).of_unit, 0
    units = len(design.label)
    true = (np.log2(0.5) - np.log2((3 * 0.5 + 17 * 0.2) / 20)) / -np.log2(3 * 0.5 / 20)
    for seed, n in _chunks(times):
        moved = 0.04 * values(design, n, rng).T
        k = rng.binomial(3, (0.5 + moved).clip(0, 1)).astype(float)
        others = rng.binomial(17, (0.2 + moved).clip(0, 1)).astype(float)
        sizes: Any = (np.full((1, units), 3), k + others, np.full(units, 20.0), np.arange(units), None)
        low, high, _ = npmi_interval(Counted(k[None], *sizes), np.ones(1), cluster, 1000, seed)
        found += held(list(zip(low, high, strict=True)), float(true))
    return found / times


def null_rejected(design: Design, times: int, rng: np.random.Generator) -> float:
    """fTRI's permutation test at 0.05 where the classes do not differ on average, but each cluster's pairs do alike."""
    who, found = of_store(design), 0
    for seed, n in _chunks(times):
        a = values(design, n, rng).T
        sample = Sample(a, np.ones(len(a)), class_members(design.label, 2), np.array([1.0, -1.0]))
        found += int((difference(sample, who, 199, 0, seed, "none").p <= 0.05).sum())
    return found / times


MEASURES: dict[str, Callable[[Design, int, np.random.Generator], float]] = {
    "compare, a number": compare_number,
    "compare, yes or no": compare_share,
    "compare, rare": compare_rare,
    "ftri": ftri_covers,
    "contrast": contrast_covers,
    "usage": usage_covers,
    "npmi": npmi_covers,
    "rejected at 0.05": null_rejected,
}


def main() -> None:
    """Prints a table: a row per design, a column per measure, in per cent."""
    times = int(sys.argv[1]) if len(sys.argv) > 1 else TIMES
    rows = {
        name: {
            measure: 100 * covers(design, times, np.random.default_rng([i, j]))
            for j, (measure, covers) in enumerate(MEASURES.items())
        }
        for i, (name, design) in enumerate(designs().items())
    }
    print(f"{times} times; per cent of 95 % intervals that hold the true value, and of null tests that reject at 0.05")
    print(pd.DataFrame(rows).T.round(1).to_string())


if __name__ == "__main__":
    main()
