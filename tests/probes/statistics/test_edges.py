"""Statistics at their edges: uneven clusters, blocks, the circle of shifts, adjustments, a single draw."""

import numpy as np
import pytest

from probes import capacity, ftri, npmi, usage
from probes.statistics import Sample, class_members, interval, permutation_test
from probes.statistics.difference import effective_size
from probes.statistics.permute import Blocks, log_relabellings, members, permutations
from probes.statistics.shift import all_shifts, circles
from tests.probes.oracle.cases import golden
from tests.probes.reading.made import words
from workbench.errors import WorkbenchError


def test_uneven_clusters_weigh_by_their_part_of_the_variance() -> None:
    d, who = np.array([1.0, 3.0, 2.0, 2.0]), np.array([0, 1, 0, 1])
    sample = Sample(np.zeros((4, 1)), d, class_members(np.array([0, 0, 1, 1]), 2), np.array([1.0, -1.0]))
    # each unit's d over its class's total of 4, squared by size: 1/16 3/16 | 2/16 2/16; clusters 3/16 and 5/16
    assert effective_size(sample, who) == pytest.approx(8**2 / (3**2 + 5**2))
    three = Sample(np.zeros((4, 1)), d, class_members(np.array([0, 1, 1, 2]), 3), np.array([1.0, -0.5, -0.5]))
    # 1 | 1/4 x (3/25 2/25) | 1/4 x 1/2: clusters 1 + 1/50 and 3/100 + 1/8
    one, two = 1 + 1 / 50, 3 / 100 + 1 / 8
    assert effective_size(three, who) == pytest.approx((one + two) ** 2 / (one**2 + two**2))


def test_units_of_blocks_move_together_and_alike() -> None:
    blocks = Blocks(np.array([2, 0, 1, 0, 2, 1]), np.array([5, 5, 5]))
    found = members(blocks)
    assert found.first.tolist() == [0, 2, 4]
    assert found.size.tolist() == [2, 2, 2]
    assert found.order.tolist() == [1, 3, 2, 5, 0, 4]
    assert found.rank.tolist() == [0, 0, 0, 1, 1, 1]
    # two pairs of one group turn together, the third pair by itself
    pairs = Blocks(np.arange(6), np.array([0, 0, 1, 1, 2, 2]), np.array([7, 7, 7, 7, 3, 3]))
    moved = {tuple(row) for row in permutations(pairs, 200, np.random.default_rng(0)).tolist()}
    both, third = [(0, 1, 2, 3), (1, 0, 3, 2)], [(4, 5), (5, 4)]
    assert moved == {a + b for a in both for b in third}
    label = np.array([0, 1, 1, 0, 0, 1])
    assert np.exp(log_relabellings(pairs, label)) == pytest.approx(4)
    assert np.exp(log_relabellings(pairs._replace(group=None), label)) == pytest.approx(8)
    # blocks of two units with the same labels inside are alike: 3! / 2!
    assert np.exp(log_relabellings(blocks, np.array([0, 1, 0, 1, 1, 1]))) == pytest.approx(3)


def test_every_step_around_the_circle() -> None:
    expert, value = np.array([[0, 1], [1, -1], [2, 0], [0, -1]]), np.array([1.0, 0.0, -1.0, -1.0])
    for step, found in enumerate(all_shifts(expert, value, 3)):
        wanted = [sum(v for i, v in enumerate(value) if e in expert[(i + step) % 4]) for e in range(3)]
        assert found.tolist() == pytest.approx(wanted)
    sequence, read = np.array([0, 0, 1, 1, 2, 2]), np.array([1, 1, 1, 0, 1, 1], bool)
    parts = circles(sequence, read, np.array([0, 2.0, 0, 5.0, -1.0, 0]))
    assert [(c.rows.tolist(), c.value.tolist()) for c in parts] == [([0, 1], [0, 2.0]), ([4, 5], [-1.0, 0])]


def test_step_down_and_the_adjustments_that_need_no_draws() -> None:
    # own p-values by 4 draws: 1/5, 2/5, 3/5
    null = np.array([[1.0, 2.0, 3.0], [2.0, 5.0, 2.0], [3.0, 1.0, 1.0], [0.5, 0.1, 0.2]])
    score = np.array([4.0, 4.0, 2.0])
    for adjust, wanted in (("none", [0.2, 0.4, 0.6]), ("bonferroni", [0.6, 1.0, 1.0]), ("bh", [0.6, 0.6, 0.6])):
        tested = permutation_test(score, np.zeros(3), lambda block: null[:, block], 4, adjust)  # pyright: ignore[reportArgumentType]
        assert tested.p.tolist() == pytest.approx([0.2, 0.4, 0.6])
        assert tested.p_adjusted.tolist() == pytest.approx(wanted)
    # 12 clusters: the 95 % interval of the numbers 0 to 1000 reaches t(11) sqrt(12 / 11) = 2.299 of a normal's deviations
    low, high = interval(lambda block: np.arange(1001.0)[:, None][:, block * 0], 2, 1001, 12)
    assert (low.tolist(), high.tolist()) == (
        [pytest.approx(10.76, abs=0.05)] * 2,
        [pytest.approx(989.24, abs=0.05)] * 2,
    )


def test_a_marker_in_one_cluster_has_no_interval_and_lost_resamples_are_counted() -> None:
    store = words("am/ab/ab/ab", cluster=["u", "v", "w", "x"])
    one = npmi(store, token="m", n_permutations=0)
    assert one.notes[3] == "no interval: a marker is in 1 cluster, and 2 are needed"
    store = words("am/am/ab/ab", cluster=["u", "v", "w", "x"])
    found = npmi(store, token="m", n_permutations=0, n_bootstrap=200)
    drawn = np.random.default_rng([0, 1]).multinomial(4, [0.25] * 4, size=200)
    lost = int((drawn[:, :2].sum(axis=1) == 0).sum())  # about 1 in 16
    assert found.notes[3] == f"{lost} of 200 resamples held no marker and were not used"
    with pytest.raises(
        WorkbenchError,
        match=r"No token of 'memory' is in tokens='all' with role tool; .*: their roles are user \(8\)\.",
    ):
        npmi(store, role="tool")
    with pytest.raises(
        WorkbenchError, match=r"npmi was given markers and role; ask for one of markers, token, role, target\."
    ):
        npmi(store, {"m": 1}, role="user")


def test_a_single_draw_is_a_draw() -> None:
    one = {"where": "pair=x", "n_bootstrap": 1, "n_permutations": 1}
    cluster = "no interval: one class has 1 cluster, and 2 are needed"
    assert cluster in ftri(golden().store, "refused", "answered", **one).notes
    assert (
        "no interval: a marker is in 1 cluster, and 2 are needed" in npmi(golden().store, token="<think>", **one).notes
    )
    assert (
        "no interval: there is 1 cluster, and 2 are needed"
        in usage(golden().store, where="pair=x", n_bootstrap=1).notes
    )
    found = ftri(golden().store, "refused", "answered", n_bootstrap=1, n_permutations=1).frame
    assert found["low"].tolist() == found["high"].tolist()
    assert found["low"].notna().all()
    assert set(found["p"]) <= {0.5, 1.0}  # (1 + 0 or 1) / (1 + 1)
    shifted = npmi(golden().store, token="<think>", n_bootstrap=1, n_permutations=1).frame.dropna(subset=["score"])
    assert set(shifted["p"]) <= {0.5, 1.0}
    assert usage(golden().store, n_bootstrap=1).frame["low"].notna().all()


def test_an_interval_from_few_resamples_says_so() -> None:
    few, said = (
        golden().store,
        "intervals rest on {} and may leave out the score itself: ask with n_bootstrap=100 or more",
    )
    assert said.format("1 resample") in usage(few, n_bootstrap=1).notes
    assert said.format("99 resamples") in usage(few, n_bootstrap=99).notes
    assert said.format("2 resamples") in capacity(few, n_bootstrap=2).notes  # a table
    for found in (usage(few, n_bootstrap=100), usage(few, n_bootstrap=0), usage(few, where="pair=x", n_bootstrap=1)):
        assert not [note for note in found.notes if note.startswith("intervals rest")]
