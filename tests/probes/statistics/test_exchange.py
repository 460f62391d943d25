"""Who exchanges labels and who is resampled together, worked out by hand on prompts with pairs, clusters and both."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from probes.statistics import exchange, resampled
from probes.statistics.permute import permutations
from workbench.errors import WorkbenchError
from workbench.resample import effective_clusters, joined, widened

NO = None


def store(pair: Any = None, cluster: Any = None, n: int = 0, samples: int = 1) -> Any:
    """What `exchange` reads of a store: each prompt's pair and cluster."""
    n = n or len(pair or cluster)
    prompts = pd.DataFrame({"pair": pair or [NO] * n, "cluster": cluster or [NO] * n}, dtype=object)
    return SimpleNamespace(prompts=prompts, n_samples=samples, path="s", labels=pd.DataFrame({"name": [], "value": []}))


def units(of: Any) -> np.ndarray:
    return np.arange(len(of.prompts) * of.n_samples)


def labellings(of: Any, label: list[int], permute: str = "auto") -> tuple[set[tuple[int, ...]], Any]:
    """Every labelling that 600 draws reach, and the exchange."""
    found = exchange(of, units(of), np.array(label), permute)  # pyright: ignore[reportArgumentType]
    moved = permutations(found.blocks, 600, np.random.default_rng(0))
    return {tuple(np.array(label)[row].tolist()) for row in moved}, found


# ---- who is resampled together


@pytest.mark.parametrize(
    ("pair", "cluster", "together", "said"),
    [
        (None, None, [0, 1, 2, 3], "4 of 'prompt'"),
        (["x", "x", "y", "y"], None, [0, 0, 1, 1], "2 of 'pair'"),
        (None, ["B", "A", "B", NO], [1, 0, 1, 2], "3 of 'cluster'"),
        # both: clusters hold whole pairs, so clusters it is
        (["x", "x", "y", "y"], ["A", "A", "A", "A"], [0, 0, 0, 0], "1 of 'cluster'"),
        (["x", "x", "y", "y"], ["A", "A", "B", "B"], [0, 0, 1, 1], "2 of 'cluster'"),
        # a pair lies across two clusters, or half of it has none
        (["x", "y", "x", "z"], ["A", "A", "B", "C"], [0, 0, 0, 1], "2 of 'cluster and pair together'"),
        (["x", "x", NO, NO], ["A", NO, "A", NO], [0, 0, 0, 1], "2 of 'cluster and pair together'"),
        # each cluster of one prompt: the pairs join them
        (["x", "x", "y", "y"], ["A", "B", "C", "D"], [0, 0, 1, 1], "2 of 'pair'"),
    ],
)
def test_what_shares_a_pair_or_a_cluster_is_resampled_together(
    pair: Any, cluster: Any, together: list[int], said: str
) -> None:
    of = store(pair, cluster, 4)
    found = resampled(of, units(of))
    assert found.of_unit.tolist() == together
    assert f"intervals resample {said} as wholes" in found.note
    assert "too narrow" in found.note, "fewer than ten"


def test_what_was_asked_for_is_resampled() -> None:
    of = store(["x", "x", "y", "y"], ["A", "A", "A", "B"])
    assert resampled(of, units(of), "pair").of_unit.tolist() == [0, 0, 1, 1]
    assert resampled(of, units(of), "cluster").of_unit.tolist() == [0, 0, 0, 1]
    assert resampled(of, units(of), "prompt").of_unit.tolist() == [0, 1, 2, 3]


def test_samples_of_a_prompt_stay_together_and_ten_clusters_are_enough() -> None:
    of = store(None, [f"c{i}" for i in range(10)], samples=2)
    found = resampled(of, units(of))
    assert found.of_unit.tolist() == [i // 2 for i in range(20)]
    assert "too narrow" not in found.note


def test_joined_walks_any_chain() -> None:
    """1-2 by a letter, 2-3 by a number, 3-4 by a letter; 0 and 5 are others'."""
    assert joined(["z", "a", "a", "b", "b", NO], [1, 2, 3, 3, 4, NO]).tolist() == [0, 1, 1, 1, 1, 2]
    assert joined([NO, NO, NO], ["k", NO, "k"]).tolist() == [0, 1, 0]


# ---- who exchanges labels


def test_pairs_of_a_cluster_exchange_together() -> None:
    """Two clusters of two pairs: each cluster's pairs both turn, or neither: four labellings, not sixteen."""
    of = store(["a", "a", "b", "b", "c", "c", "d", "d"], ["X"] * 4 + ["Y"] * 4)
    label = [0, 1, 1, 0, 0, 1, 0, 1]
    turned = {
        (0, 1, 1, 0, 0, 1, 0, 1),
        (1, 0, 0, 1, 0, 1, 0, 1),
        (0, 1, 1, 0, 1, 0, 1, 0),
        (1, 0, 0, 1, 1, 0, 1, 0),
    }
    found, how = labellings(of, label, "pairs")
    assert found == turned
    assert how.relabellings == pytest.approx(4)
    assert "labels exchanged within pairs: only 4 different relabellings, so p cannot be small" in how.notes


def test_with_few_clusters_pairs_exchange_each_alone_and_that_is_said() -> None:
    """Two clusters allow four labellings, where each pair by itself has 2^6; five clusters allow 32, and stay together."""
    few = store([f"p{i // 2}" for i in range(12)], ["X"] * 6 + ["Y"] * 6)
    found, how = labellings(few, [0, 1] * 6)
    assert (how.permute, how.relabellings, len(found)) == ("pairs_alone", pytest.approx(64), 64)
    assert "labels exchanged within pairs, each by itself whatever its cluster" in how.notes
    many = store([f"p{i // 2}" for i in range(20)], [f"c{i // 4}" for i in range(20)])
    found, how = labellings(many, [0, 1] * 10)
    assert (how.permute, how.relabellings, len(found)) == ("pairs", pytest.approx(32), 32)
    assert all(row[4 * c : 4 * c + 2] == row[4 * c + 2 : 4 * c + 4] for row in found for c in range(5))


def test_a_pair_alike_in_class_has_nothing_to_exchange() -> None:
    """Pair b is of one class: it keeps its labels while a turns; cluster Y has only such a pair."""
    of = store(["a", "a", "b", "b", "c", "c"], ["X"] * 4 + ["Y"] * 2)
    found, how = labellings(of, [0, 1, 1, 1, 0, 0], "pairs")
    assert found == {(0, 1, 1, 1, 0, 0), (1, 0, 1, 1, 0, 0)}
    assert how.relabellings == pytest.approx(2)


def test_pairs_without_clusters_exchange_each_by_itself() -> None:
    of = store([f"p{i // 2}" for i in range(10)])
    found, how = labellings(of, [0, 1] * 5)
    assert (how.permute, len(found)) == ("pairs", 32)


def test_a_scheme_that_is_asked_for_is_checked_and_counted() -> None:
    """Clusters of three and of one prompt that hold both classes cannot change places as wholes."""
    uneven = store(None, ["A", "A", "A", "B"])
    with pytest.raises(WorkbenchError, match="'whole_clusters' moves whole blocks of prompts, which differ in size"):
        exchange(uneven, units(uneven), np.array([0, 1, 0, 1]), "whole_clusters")
    whole = store(None, ["A", "A", "B", "C"])
    found, how = labellings(whole, [0, 0, 1, 1], "whole_clusters")
    assert found == {(0, 0, 1, 1), (1, 1, 0, 1), (1, 1, 1, 0)}  # which one of three clusters is of class 0
    assert how.relabellings == pytest.approx(3)
    free, how = labellings(whole, [0, 0, 1, 1], "prompts")
    assert (len(free), how.relabellings) == (6, pytest.approx(6))
    inside, how = labellings(store(None, ["A", "A", "B", "B"]), [0, 1, 0, 1], "clusters")
    assert (len(inside), how.relabellings) == (4, pytest.approx(4))
    for permute, missing in (("pairs", "pair"), ("pairs_alone", "pair"), ("whole_clusters", "cluster")):
        alone = store(n=4)
        with pytest.raises(WorkbenchError, match=f"needs prompts that name a {missing}; none does"):
            exchange(alone, units(alone), np.array([0, 1, 0, 1]), permute)  # pyright: ignore[reportArgumentType]


# ---- how wide


def test_equal_clusters_count_in_full_and_unequal_ones_less() -> None:
    assert effective_clusters(np.ones(6), np.array([0, 0, 1, 1, 2, 2])) == pytest.approx(3)
    # sizes 3 and 1: 4^2 / (9 + 1)
    assert effective_clusters(np.ones(4), np.array([0, 0, 0, 1])) == pytest.approx(1.6)
    # tokens 10, 20, 30: 60^2 / (100 + 400 + 900)
    assert effective_clusters(np.array([10.0, 20, 30]), np.arange(3)) == pytest.approx(3600 / 1400)


@pytest.mark.parametrize(
    ("n", "student", "normal"),
    # Student's t at 0.975 with n - 1 degrees of freedom, and twice the normal probability below t sqrt(n / (n - 1)), from tables
    [(2, 12.7062, 1.0), (5, 2.7764, 0.99809), (10, 2.2622, 0.98290), (30, 2.0452, 0.96248), (1000, 1.9623, 0.95036)],
)
def test_percentiles_are_taken_as_far_out_as_students_t_asks(n: int, student: float, normal: float) -> None:
    from math import erf, sqrt

    assert erf(student * sqrt(n / (n - 1)) / sqrt(2)) == pytest.approx(normal, abs=5e-5)
    assert widened(n) == pytest.approx(normal, abs=5e-5)
