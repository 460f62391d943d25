"""Rankings of one store side by side: correlations and clusters by hand and by loops, what is asked, and what is refused."""

import json
import os
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.agreement import agreement, clusters, correlations, rankings
from probes.catalogue import RANKERS
from probes.ranking import ExpertScores, opened
from tests.probes.oracle.cases import golden
from tests.probes.oracle.importance.cases import drawn, with_weights
from workbench import Plan
from workbench.errors import WorkbenchError

NAN = float("nan")
DRAWN = settings(max_examples=int(os.environ.get("WORKBENCH_CASES", "20")), deadline=None, derandomize=True)


def scores(values: list[float], shared: int = 0) -> ExpertScores:
    """Of the experts 0, 1, ... of layer 0; the last `shared` of them are shared ones."""
    n = len(values)
    frame = pd.DataFrame({"layer": 0, "expert": range(n), "score": values, "n": 1, "flags": ""})
    return ExpertScores("m", {}, frame.assign(is_shared=[i >= n - shared for i in range(n)]), (), "f")


def found(pairs: pd.DataFrame) -> dict[tuple[str, str], tuple[float | None, int]]:
    rows = pairs[["method", "other", "spearman", "n"]].itertuples(index=False, name=None)
    return {(a, b): (None if rho != rho else rho, n) for a, b, rho, n in rows}


def test_correlations_by_hand() -> None:
    # ranks of a: 1 2 3 4; of b, whose first two tie: 1.5 1.5 3 4; of c: 4 3 2 1; d says nothing; e has two in common
    named = {
        "a": scores([1, 2, 3, 4]), "b": scores([5, 5, 6, 9]), "c": scores([8, 4, 2, 1]), "d": scores([7, 7, 7, 7]),
        "e": scores([NAN, 1, NAN, 2]), "f": scores([3, NAN, 1, 2]),
    }  # fmt: skip
    got = found(correlations(named))
    # a and b around 2.5: -1.5 -.5 .5 1.5 and -1 -1 .5 1.5: 4.5 over the root of 5 x 4.5
    assert got["a", "b"] == (pytest.approx(4.5 / (5 * 4.5) ** 0.5), 4)
    assert got["a", "c"] == (-1, 4)
    assert got["a", "d"] == (None, 4)
    assert got["a", "e"] == (None, 2)
    # without expert 1 the ranks of a are 1 2 3 again, those of f 3 1 2: -1 0 1 and 1 -1 0: -1 over 2
    assert got["a", "f"] == (-0.5, 3)
    assert [*got] == [(a, b) for i, a in enumerate("abcdef") for b in "abcdef"[i + 1 :]]
    assert found(correlations({"a": scores([1, 2, 3, 9], shared=1), "b": scores([3, 2, 1, 9], shared=1)})) == {
        ("a", "b"): (-1, 3)
    }


def rank_of(value: float, among: list[float]) -> float:
    return 1 + sum(x < value for x in among) + (sum(x == value for x in among) - 1) / 2


def by_loop(one: list[float], other: list[float]) -> tuple[float | None, int]:
    both = [(a, b) for a, b in zip(one, other, strict=True) if a == a and b == b]
    n = len(both)
    if n < 3:
        return None, n
    x = [rank_of(a, [p[0] for p in both]) for a, _ in both]
    y = [rank_of(b, [p[1] for p in both]) for _, b in both]
    middle = (n + 1) / 2
    top = sum((a - middle) * (b - middle) for a, b in zip(x, y, strict=True))
    below = (sum((a - middle) ** 2 for a in x) * sum((b - middle) ** 2 for b in y)) ** 0.5
    return (top / below if below else None), n


VALUES = st.lists(st.tuples(*[st.sampled_from([0.0, 0.25, 0.5, 1.0, NAN])] * 4), min_size=1, max_size=9)


@DRAWN
@given(VALUES)
def test_correlations_equal_loops(rows: list[tuple[float, ...]]) -> None:
    columns = [list(column) for column in zip(*rows, strict=True)]
    got = found(correlations(dict(zip("abcd", map(scores, columns), strict=True))))
    for (a, b), (rho, n) in got.items():
        expected, n_expected = by_loop(columns["abcd".index(a)], columns["abcd".index(b)])
        assert n == n_expected
        assert (rho is None) == (expected is None)
        assert rho is None or rho == pytest.approx(expected, abs=1e-12)


def joined(names: str, rho: dict[tuple[str, str], float], cut: float) -> set[frozenset[str]]:
    """Average linkage once more: the two clusters of the largest mean correlation, as long as that is `cut` or more."""
    groups = [{name} for name in names]

    def mean(a: set[str], b: set[str]) -> float:
        return sum(rho[tuple(sorted((x, y)))] for x in a for y in b) / (len(a) * len(b))

    while len(groups) > 1:
        best = max(
            ((mean(a, b), i, j) for i, a in enumerate(groups) for j, b in enumerate(groups[:i])), key=lambda x: x[0]
        )
        if best[0] < cut - 1e-9:
            break
        a, b = groups[best[1]], groups[best[2]]
        groups = [group for group in groups if group not in (a, b)] + [a | b]
    return {frozenset(group) for group in groups}


def rows(rho: dict[tuple[str, str], float]) -> pd.DataFrame:
    return pd.DataFrame(
        [(a, b, value, 9) for (a, b), value in rho.items()], columns=["method", "other", "spearman", "n"]
    )


def test_clusters_by_hand() -> None:
    rho = {("a", "b"): 0.9, ("a", "c"): 0.8, ("b", "c"): 0.5, ("a", "d"): -0.9, ("b", "d"): NAN, ("c", "d"): 0.0}
    # a and b at 0.9; c is at 0.65 from the two on average, so it joins at a cut of 0.65 and not of 0.7
    assert clusters("abcd", rows(rho), 0.7) == (("a", "b"), ("c",), ("d",))
    assert clusters("abcd", rows(rho), 0.65) == (("a", "b", "c"), ("d",))
    assert clusters("abcd", rows(rho), 0.95) == (("a",), ("b",), ("c",), ("d",))
    assert clusters("a", rows({})) == (("a",),)
    assert clusters("", rows({})) == ()


@DRAWN
@given(st.lists(st.integers(-1000, 1000), min_size=6, max_size=6, unique=True), st.sampled_from([0.7, 0.5, 0.0, -0.5]))
def test_clusters_equal_loops(drawn: list[int], cut: float) -> None:
    pairs = [(a, b) for i, a in enumerate("abcd") for b in "abcd"[i + 1 :]]
    rho = dict(zip(pairs, (x / 1000 for x in drawn), strict=True))
    assert {frozenset(group) for group in clusters("abcd", rows(rho), cut)} == joined("abcd", rho, cut)


def test_a_store_is_asked_in_every_way_that_it_allows() -> None:
    asked = rankings(drawn(3, n_prompts=8).full_store, "verdict=refused", "verdict=answered")
    named = {name for names in asked.refused.values() for name in names}
    assert {*asked.scores} | named == {
        name for key, m in RANKERS.items() for name in (key, *(f"{key}: {r.name}" for r in m.readings))
    }
    assert named == {"drift", "safex"}
    reasons = {names: reason for reason, names in asked.refused.items()}
    assert reasons["drift",] == "It compares with another store, and one alone is asked here."
    assert reasons["safex",].startswith("alpha=0.05 of ")  # of so few experts 5 % is none
    assert asked.scores["ftri"].options["target"] == "verdict=refused"
    assert asked.scores["saliency: MSAN"].options["power"] == 2.0
    assert asked.scores["ftri"].frame["low"].isna().all(), "only ranks are compared, so no interval is drawn"


def test_what_a_store_does_not_allow_is_said_by_its_reason() -> None:
    asked = rankings(golden().store)
    reasons = {name: reason for reason, names in asked.refused.items() for name in names}
    assert (
        reasons["contrast"]
        == reasons["safex"]
        == "It compares classes of responses, and none was named; give a target."
    )
    assert reasons["npmi"] == "It asks what goes with a label, and none was named; give a target."
    assert "kept no norms" in reasons["saliency"]
    assert "kept no router logits" in reasons["tcess"]
    assert {"usage", "usage: share of tokens", "shape"} <= {*asked.scores}


def test_rankings_that_count_the_same_are_one_cluster_and_the_file_holds_every_pair(tmp_path: Path) -> None:
    got = agreement(drawn(3, n_prompts=8).full_store)
    first = got.clusters[0]
    assert {"usage: share of tokens"} < {*first}
    matrix = got.matrix
    assert list(matrix) == [name for group in got.clusters for name in group] == list(matrix.index)
    for row in got.pairs.itertuples():
        assert matrix.loc[row.method, row.other] == matrix.loc[row.other, row.method] or row.spearman != row.spearman
        same = any({row.method, row.other} <= {*group} for group in got.clusters)
        assert same == (row.cluster == row.other_cluster)
    assert [matrix.loc[name, name] for name in matrix] == [1.0] * len(matrix)
    for ending in (".csv", ".parquet"):
        got.write(tmp_path / f"a{ending}")
        about, frame = opened(tmp_path / f"a{ending}")
        pd.testing.assert_frame_equal(frame, got.pairs, check_dtype=False)
        assert about["clusters"] == [list(group) for group in got.clusters]
        assert about["refused"] == {reason: list(names) for reason, names in got.refused.items()}
    with pytest.raises(WorkbenchError, match=r"should end in .csv or .parquet"):
        got.write(tmp_path / "a.txt")
    for cut in (-1, 1.5):
        with pytest.raises(
            WorkbenchError, match="is no rank correlation to join rankings at; give more than -1 and at most 1"
        ):
            agreement(golden().store, cut=cut)


def test_three_rankings_of_a_store_by_loops() -> None:
    """Usage against the share of tokens and SHAPE, from the answers' own rows."""
    store: Any = drawn(5, n_prompts=8).full_store
    got = agreement(store)
    for one, other in (("usage", "usage: share of tokens"), ("usage", "shape")):
        columns = [
            got.scores[name].frame.set_index(["layer", "expert"])["score"].sort_index().tolist()
            for name in (one, other)
        ]
        row = got.pairs[(got.pairs["method"] == one) & (got.pairs["other"] == other)].iloc[0]
        assert (row["spearman"], row["n"]) == (pytest.approx(by_loop(*columns)[0]), by_loop(*columns)[1])


def test_every_ranking_of_a_steered_store_says_so() -> None:
    store = with_weights(drawn(0)).store
    store.plan_json["steering"] = json.loads(Plan.off("L1E0").to_json())
    found = rankings(store, "refused", "answered").scores
    assert len(found) > 10
    assert {"min_norm", "saliency", "usage", "ftri", "aimer", "tcess"} <= {*found}
    silent = [
        name for name, one in found.items() if one.notes[0] != "captured under a plan, not the base model: off L1E0"
    ]
    assert not silent
