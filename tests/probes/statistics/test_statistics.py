"""Permutation, bootstrap and adjustment against hand-worked tables, full enumeration, and simulated nulls and effects."""

from itertools import permutations as orders

import numpy as np
import pytest

from probes.statistics import (
    Exchange,
    Sample,
    check_adjust,
    class_members,
    difference,
    holm,
    interval,
    permutation_test,
)
from probes.statistics.adjust import benjamini_hochberg, bonferroni
from probes.statistics.permute import Blocks, log_relabellings, p_value, permutations
from workbench.errors import WorkbenchError
from workbench.resample import cluster_draws, percentile_interval

NAN = float("nan")


def free(n_units: int) -> Exchange:
    blocks = Blocks(np.arange(n_units), np.zeros(n_units, int))
    return Exchange(blocks, np.arange(n_units), ("", ""), "prompts", float("inf"))


def two_classes(a: np.ndarray, label: np.ndarray) -> Sample:
    return Sample(a, np.ones(len(a)), class_members(label, 2), np.array([1.0, -1.0]))


def test_p_value_counts_the_observed_labelling_as_one_draw() -> None:
    null = np.array([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0]])
    # 2 and 3 reach 2: (1 + 2) / (1 + 3); nothing reaches 5: 1 / 4
    assert p_value(np.array([2.0, 5.0]), null).tolist() == [0.75, 0.25]


def test_equal_sums_in_another_order_count_as_equal() -> None:
    observed, drawn = 0.1 + 0.2 + 0.3, 0.3 + 0.2 + 0.1
    assert observed != drawn
    assert p_value(np.array([observed]), np.array([[drawn]])).tolist() == [1.0]


def test_benjamini_hochberg_table() -> None:
    # sorted 0.01 0.02 0.03 0.2; times 4 / rank: 0.04 0.04 0.04 0.2; null stays out of the count
    adjusted = benjamini_hochberg(np.array([0.03, NAN, 0.01, 0.2, 0.02]))
    np.testing.assert_allclose(adjusted, [0.04, NAN, 0.04, 0.2, 0.04])
    # made monotone from above: 3 * 0.02 = 0.06, 3 * 0.04 / 2 = 0.06, 0.05
    np.testing.assert_allclose(benjamini_hochberg(np.array([0.02, 0.04, 0.05])), [0.05, 0.05, 0.05])


def test_bonferroni_table() -> None:
    np.testing.assert_allclose(bonferroni(np.array([0.01, NAN, 0.4])), [0.02, NAN, 0.8])
    np.testing.assert_allclose(bonferroni(np.array([0.6, 0.9])), [1, 1])


def westfall_young(adjust: str) -> list[float]:
    # scores 5, -3, 1 around centre 0; four draws of the three experts
    null = np.array([[1.0, -4.0, 0.0], [2.0, 1.0, 6.0], [0.0, 3.0, 1.0], [1.0, 1.0, 0.5]])
    tested = permutation_test(np.array([5.0, -3.0, 1.0]), np.zeros(3), lambda block: null[:, block], 4, adjust)  # pyright: ignore[reportArgumentType]
    # own: |5| 0 of 4; |3|: 4, 3 -> 2 of 4; |1|: 6, 1 -> 2 of 4
    assert tested.p.tolist() == [1 / 5, 3 / 5, 3 / 5]
    return tested.p_adjusted.tolist()


def test_westfall_young_single_step_table() -> None:
    # the largest of each draw: 4, 6, 3, 1. |5| is reached by 6; |3| by 4, 6, 3; |1| by all
    assert westfall_young("max") == [2 / 5, 4 / 5, 5 / 5]


def test_westfall_young_step_down_table() -> None:
    # expert 0 against all: 2/5. Expert 1 against itself and 2: 4, 6, 3, 1 -> 4/5. Expert 2 alone: 0, 6, 1, .5 -> 3/5, made 4/5
    assert westfall_young("max_step_down") == [2 / 5, 4 / 5, 4 / 5]


def test_standardised_maximum_divides_by_the_null_deviation() -> None:
    null = np.array([[1.0, 10.0], [-1.0, -10.0], [1.0, -10.0], [-1.0, 10.0]])
    tested = permutation_test(np.array([3.0, 9.0]), np.zeros(2), lambda b: null[:, b], 4, "max_standardised")
    # deviations 1 and 10, so every draw's largest is 1: 3 / 1 is beyond all, 9 / 10 below all
    assert tested.p_adjusted.tolist() == [1 / 5, 1.0]
    assert permutation_test(np.array([3.0, 9.0]), np.zeros(2), lambda b: null[:, b], 4, "max").p_adjusted.tolist() == [
        1,
        1,
    ]


def test_blocks_of_experts_do_not_change_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    null, score = rng.normal(size=(50, 7)), rng.normal(size=7)
    score[2] = NAN
    for adjust in ("max", "max_step_down", "max_standardised"):
        whole = permutation_test(score, np.zeros(7), lambda b: null[:, b], 50, adjust)  # pyright: ignore[reportArgumentType]
        monkeypatch.setattr("probes.statistics.inference.BLOCK_VALUES", 100)
        split = permutation_test(score, np.zeros(7), lambda b: null[:, b], 50, adjust)  # pyright: ignore[reportArgumentType]
        monkeypatch.undo()
        np.testing.assert_array_equal(whole, split)
        assert np.isnan(whole.p[2])
        assert np.isnan(whole.p_adjusted[2])


def test_permutations_stay_in_their_stratum_and_move_blocks_whole() -> None:
    # blocks 0 and 1 (two units each) exchange; block 2 is alone in its stratum
    blocks = Blocks(np.array([0, 0, 1, 1, 2]), np.array([7, 7, 3]))
    moved = permutations(blocks, 200, np.random.default_rng(1))
    assert {tuple(row) for row in moved.tolist()} == {(0, 1, 2, 3, 4), (2, 3, 0, 1, 4)}
    assert 60 < (moved[:, 0] == 2).sum() < 140


def test_relabellings_are_counted() -> None:
    # 4 prompts, 2 of each class, freely: 4! / (2! 2!) = 6. In two pairs: 2 * 2 = 4. Alike pairs: 1
    label = np.array([0, 1, 0, 1])
    one, pairs = np.zeros(4, int), np.array([0, 0, 1, 1])
    assert np.exp(log_relabellings(Blocks(np.arange(4), one), label)) == pytest.approx(6)
    assert np.exp(log_relabellings(Blocks(np.arange(4), pairs), label)) == pytest.approx(4)
    assert np.exp(log_relabellings(Blocks(np.arange(4), pairs), np.array([0, 0, 1, 1]))) == pytest.approx(1)


def test_percentile_interval_table() -> None:
    # 0..40: 2.5 % of 40 is 1, 97.5 % is 39; the second column lacks values and has 0..20: 0.5 and 19.5
    replicates = np.stack([np.arange(41.0), np.where(np.arange(41) <= 20, np.arange(41.0), NAN)], axis=1)
    low, high = percentile_interval(replicates)
    np.testing.assert_allclose((low, high), ([1, 0.5], [39, 19.5]))


def test_clusters_are_drawn_whole() -> None:
    drawn = cluster_draws(np.array([0, 0, 1, 2, 2]), 500, np.random.default_rng(0))
    assert (drawn[:, 0] == drawn[:, 1]).all()
    assert (drawn[:, 3] == drawn[:, 4]).all()
    assert (drawn[:, [0, 2, 3]].sum(axis=1) == 3).all()
    np.testing.assert_allclose(drawn.mean(axis=0), 1, atol=0.12)


def test_permutation_p_equals_full_enumeration() -> None:
    rng = np.random.default_rng(3)
    a, label = rng.random((6, 4)), np.array([0, 0, 1, 1, 1, 0])
    observed = a[label == 0].mean(0) - a[label == 1].mean(0)
    every = [a[label[list(o)] == 0].mean(0) - a[label[list(o)] == 1].mean(0) for o in orders(range(6))]
    exact = (np.abs(every) >= np.abs(observed) - 1e-12).mean(axis=0)
    exact_max = (np.abs(every).max(axis=1)[:, None] >= np.abs(observed) - 1e-12).mean(axis=0)
    estimate = difference(two_classes(a, label), free(6), 8000, 0, 0, "max")
    np.testing.assert_allclose(estimate.score, observed)
    np.testing.assert_allclose(estimate.p, exact, atol=0.02)
    np.testing.assert_allclose(estimate.p_adjusted, exact_max, atol=0.02)


def test_strata_that_differ_do_not_pass_for_an_effect() -> None:
    # clusters 0 and 1 differ in level and in class balance; within a cluster the classes are alike
    rng = np.random.default_rng(0)
    cluster = np.repeat([0, 1], 40)
    label = np.concatenate([rng.permutation([0] * 32 + [1] * 8), rng.permutation([0] * 8 + [1] * 32)])
    a = (cluster * 0.5 + rng.normal(0, 0.05, 80))[:, None]
    within = Exchange(Blocks(np.arange(80), cluster), np.arange(80), ("", ""), "clusters", float("inf"))
    assert difference(two_classes(a, label), free(80), 500, 0, 0, "max").p[0] < 0.01
    assert difference(two_classes(a, label), within, 500, 0, 0, "max").p[0] > 0.05


def test_pooled_denominators_move_with_the_labels() -> None:
    # every token of every response selects the expert: the difference is 0 under each labelling, whatever the lengths
    tokens = np.array([1.0, 9.0, 4.0, 2.0])
    sample = Sample(tokens[:, None], tokens, class_members(np.array([0, 1, 0, 1]), 2), np.array([1.0, -1.0]))
    estimate = difference(sample, free(4), 100, 100, 0, "max")
    assert estimate.score[0] == pytest.approx(0)
    assert (estimate.p[0], estimate.p_adjusted[0]) == (1, 1)


def test_constant_columns_and_ties_have_p_one() -> None:
    a = np.stack([np.zeros(8), np.full(8, 0.3), np.tile([0.0, 1.0], 4)], axis=1)
    estimate = difference(two_classes(a, np.repeat([0, 1], 4)), free(8), 200, 100, 0, "max")
    assert estimate.score.tolist() == pytest.approx([0, 0, 0])
    assert estimate.p.tolist() == [1, 1, 1]
    assert estimate.low[:2].tolist() == pytest.approx([0, 0])


def test_the_same_seed_gives_the_same_answer() -> None:
    rng = np.random.default_rng(0)
    sample = two_classes(rng.random((10, 5)), np.repeat([0, 1], 5))
    first, again, other = (difference(sample, free(10), 200, 200, seed, "max") for seed in (1, 1, 2))
    np.testing.assert_array_equal(first[:5], again[:5])
    assert not np.array_equal(first.low, other.low)


def test_a_class_of_one_cluster_has_no_interval() -> None:
    sample = two_classes(np.arange(4.0)[:, None], np.array([0, 1, 1, 1]))
    estimate = difference(sample, free(4), 100, 100, 0, "max")
    assert np.isnan(estimate.low[0])
    assert any("one class has 1 cluster" in note for note in estimate.notes)


def test_resamples_without_a_class_are_counted() -> None:
    sample = two_classes(np.arange(4.0)[:, None], np.array([0, 0, 1, 1]))
    estimate = difference(sample, free(4), 100, 400, 0, "max")
    assert np.isfinite(estimate.low[0])
    assert any("left a class empty" in note for note in estimate.notes)  # 2 of 4 drawn 4 times: 1 in 8


def test_interval_covers_about_95_percent() -> None:
    rng, covered = np.random.default_rng(5), 0
    for _ in range(120):
        a = rng.normal(0.3, 1, (60, 1))
        drawn = cluster_draws(np.arange(60), 300, rng)
        low, high = interval(lambda block, d=drawn, a=a: d @ a[:, block] / 60, 1, 300, 60)
        covered += bool(low[0] <= 0.3 <= high[0])
    assert 104 <= covered <= 120  # 95 % of 120 is 114; fewer than 104 has probability below 0.0003 at 93 %


@pytest.mark.parametrize("adjust", ["max", "max_step_down", "max_standardised"])
def test_under_the_null_five_in_a_hundred_are_rejected(adjust: str) -> None:
    rng, family, own = np.random.default_rng(11), 0, []
    for seed in range(120):
        load = np.exp(rng.normal(-2, 1, 40)).clip(0.01, 0.6)
        a = rng.binomial(10, load, (30, 40)) / 10
        estimate = difference(two_classes(a, np.repeat([0, 1], 15)), free(30), 199, 0, seed, adjust)  # pyright: ignore[reportArgumentType]
        family += bool(estimate.p_adjusted.min() <= 0.05)
        own.append((estimate.p <= 0.05).mean())
    assert family <= 14  # 0.05 of 120 is 6; more than 14 has probability 0.001
    assert 0.025 <= np.mean(own) <= 0.06  # discrete counts are conservative


def test_a_planted_effect_is_found_and_leads() -> None:
    rng, found = np.random.default_rng(2), 0
    for seed in range(20):
        a = rng.binomial(10, 0.2, (60, 40)) / 10
        a[:30, 17] = rng.binomial(10, 0.4, 30) / 10
        estimate = difference(two_classes(a, np.repeat([0, 1], 30)), free(60), 199, 0, seed, "max")
        found += bool(estimate.p_adjusted[17] <= 0.05 and estimate.score.argmax() == 17)
    assert found >= 18


def test_an_unknown_adjustment_is_refused() -> None:
    with pytest.raises(WorkbenchError, match="adjusted by max, max_standardised"):
        check_adjust("fdr")


def test_holm_by_hand():
    """The smallest times four, the next times three, ... and none smaller than the one before; NaN takes no part."""
    found = holm(np.array([0.04, np.nan, 0.01, 0.03, 0.5]))
    np.testing.assert_allclose(found, [0.09, np.nan, 0.04, 0.09, 0.5])
