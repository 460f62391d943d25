"""On a real store: under no effect five in a hundred are rejected, and a planted effect of stated size is found.

The labels of the bundled store are exchanged at random as the null says they may be (within pairs), four thousand times.
"""

from functools import cache

import numpy as np
import pytest
from scipy.stats import binomtest

from probes import ftri
from probes.reading import Read, classes, read_units, select
from probes.statistics import Exchange, Sample, class_members, difference, exchange
from probes.statistics.difference import Estimate
from probes.statistics.permute import permutations
from workbench import open_store
from workbench.bundled import bundled_path
from workbench.store import Store

TIMES, DRAWS, LEVEL = 4000, 199, 0.05
EXTRA = 0.15
"""Planted: how much more of a target prompt's tokens select one expert."""


@cache
def store() -> Store:
    return open_store(bundled_path("demo-store"))


@cache
def read(tokens: str) -> tuple[Read, Exchange]:
    """Selections by prompt, and who may exchange labels with whom."""
    chosen = classes(store(), "sensitive=yes", "sensitive=no")
    found = read_units(store(), chosen, select(store(), tokens))  # pyright: ignore[reportArgumentType]
    return found, exchange(store(), found.sequence, found.label)


def estimate_of(a: np.ndarray, label: np.ndarray, who: Exchange, seed: int, adjust: str) -> Estimate:
    sample = Sample(a, np.ones(len(a)), class_members(label, 2), np.array([1.0, -1.0]))
    return difference(sample, who, DRAWS, 0, seed, adjust)  # pyright: ignore[reportArgumentType]


def relabelled(tokens: str, times: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Shares [prompts, experts] and `times` labellings [times, prompts] that the null makes equally likely."""
    found, who = read(tokens)
    moved = permutations(who.blocks, times, np.random.default_rng(seed))
    return found.a / found.tokens[:, None], found.label[moved]


def test_the_route_taken_here_is_that_of_ftri():
    found, who = read("prompt")
    mine = estimate_of(found.a / found.tokens[:, None], found.label, who, 0, "max")
    scores = ftri(store(), "sensitive=yes", "sensitive=no", tokens="prompt", n_permutations=DRAWS, n_bootstrap=0)
    table = scores.frame.sort_values(["layer", "expert"])
    np.testing.assert_allclose(table["score"], mine.score)
    np.testing.assert_allclose(table["p_adjusted"], mine.p_adjusted)


@pytest.mark.slow
@pytest.mark.parametrize("adjust", ["max", "max_standardised"])
def test_null_labellings_are_rejected_five_times_in_a_hundred(adjust):
    a, labels = relabelled("prompt", TIMES, 3)
    _, who = read("prompt")
    rejected = sum(
        bool(np.nanmin(estimate_of(a, label, who, seed, adjust).p_adjusted) <= LEVEL)
        for seed, label in enumerate(labels)
    )
    low, high = binomtest(rejected, TIMES).proportion_ci(0.95, "exact")
    assert low <= LEVEL <= high, (rejected, low, high)


@pytest.mark.slow
def test_a_test_that_forgets_the_pairs_or_the_many_experts_would_be_seen():
    """The check above can fail: unadjusted over experts, far more than five in a hundred labellings are rejected."""
    a, labels = relabelled("prompt", 100, 3)
    _, who = read("prompt")
    rejected = sum(
        bool(np.nanmin(estimate_of(a, label, who, seed, "max").p) <= LEVEL) for seed, label in enumerate(labels)
    )
    assert binomtest(rejected, 100).proportion_ci(0.95, "exact").low > LEVEL


@pytest.mark.slow
def test_a_planted_effect_is_found_four_times_in_five():
    times = 300
    a, labels = relabelled("prompt", times, 4)
    found, who = read("prompt")
    rng, hits = np.random.default_rng(5), 0
    load = a.mean(axis=0)
    ordinary = np.flatnonzero((load > 0.01) & (load < 0.5))  # an expert with room for more
    for seed, label in enumerate(labels):
        expert, planted = rng.choice(ordinary), a.copy()
        free = np.rint((1 - a[:, expert]) * found.tokens).astype(int)
        extra = rng.binomial(free, np.minimum(EXTRA / (1 - a[:, expert]).clip(1e-9), 1))
        planted[:, expert] += np.where(label == 0, extra / found.tokens, 0)
        estimate = estimate_of(planted, label, who, seed, "max")
        hits += bool(estimate.p_adjusted[expert] <= LEVEL and estimate.score[expert] > 0)
    assert binomtest(hits, times).proportion_ci(0.95, "exact").low > 0.8, hits
