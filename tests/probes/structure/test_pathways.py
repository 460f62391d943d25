"""Pathways where it is known what they are; the interval; what is refused, and said before it starts."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from probes import PairTable, pathways
from tests.probes.oracle.cases import golden, random_case
from tests.probes.oracle.memory import disk_store
from tests.probes.oracle.structure.checks import pairs
from tests.probes.structure.made import routed
from workbench.errors import WorkbenchError


def test_a_layer_that_repeats_the_last_one_has_affinity_one_and_the_lift_of_its_experts() -> None:
    found = pathways(routed([[[[e], [e]] for e in range(4)]] * 3, (4, 4)).store, first=0)
    got = pairs(found, "affinity", "lift", "low", "high")
    for (_, i, _, p), values in got.items():
        assert values == pytest.approx((1, 4, 4, 4) if i == p else (0, 0, 0, 0))


def test_where_everybody_goes_the_same_way_nothing_is_lifted() -> None:
    found = pathways(routed([[[[0], [1]]] * 5] * 3, (2, 2)).store, first=0, by="affinity").frame
    assert found.iloc[0][["expert", "other_expert", "affinity", "lift", "excess"]].tolist() == [0, 1, 1, 1, 0]
    assert found["excess"].abs().max() == 0
    assert found["affinity"].isna().tolist() == [False, False, True, True], "nobody selects expert 1 of layer 0"


def test_independent_layers_have_a_lift_of_one_and_intervals_that_say_so() -> None:
    rng = np.random.default_rng(0)
    prompts = [[[[int(e)] for e in rng.integers(4, size=2)] for _ in range(40)] for _ in range(50)]
    found = pathways(routed(prompts, (4, 4)).store, first=0, n_bootstrap=500).frame
    assert found["lift"].to_numpy() == pytest.approx(np.ones(16), abs=0.2)  # 125 tokens a pair: one in eleven
    assert ((found["low"] < 1) & (found["high"] > 1)).sum() >= 12
    assert ((found["low"] <= found["lift"]) & (found["lift"] <= found["high"])).all()


def test_two_prompts_resampled_give_the_lift_of_either_alone() -> None:
    # p0: twice 0 to 0, once 1 to 1; p1: 0 to 0, 0 to 1, 1 to 1. A resample is p0 twice, both, or p1 twice
    case = routed([[[[0], [0]], [[0], [0]], [[1], [1]]], [[[0], [0]], [[0], [1]], [[1], [1]]]], (2, 2))
    both = pairs(pathways(case.store, first=0, n_bootstrap=400), "lift", "low", "high")
    # 0 to 0: p0 2 x 3 / (2 x 2), p1 1 x 3 / (2 x 1), both 3 x 6 / (4 x 3): always 3/2
    assert both[0, 0, 1, 0] == pytest.approx((1.5, 1.5, 1.5))
    # 1 to 1: p0 3 / 1, p1 3 / (1 x 2), both 2 x 6 / (2 x 3)
    assert both[0, 1, 1, 1] == pytest.approx((2, 1.5, 3))


def test_dense_layers_between_do_not_part_two_moe_layers_and_missing_ones_do() -> None:
    case = routed([[[[0], [1], [0]]] * 2], (2, 0, 2, 2))
    assert {place[::2] for place in pairs(pathways(case.store), "n")} == {(0, 2), (2, 3)}
    case.rows["slots"][:] = [row for row in case.rows["slots"] if row["layer"] != 2]
    with pytest.raises(
        WorkbenchError, match="no two MoE layers that follow each other: of 0, 2, 3 it has 0, 3; capture two"
    ):
        pathways(case.store)
    case = routed([[[[0], [1], [0]]] * 2], (2, 2, 2))
    case.rows["slots"][:] = [row for row in case.rows["slots"] if row["layer"] != 2]
    assert "MoE layers whose predecessor was not captured with them: 2" in pathways(case.store).notes


def test_rows_are_cut_after_they_are_ordered() -> None:
    whole = pathways(golden().store, tokens="prompt", by="affinity", first=0)
    three = pathways(golden().store, tokens="prompt", by="affinity", first=3)
    assert three.frame["affinity"].tolist() == pytest.approx([5 / 6, 3 / 4, 4 / 6])
    pd.testing.assert_frame_equal(whole.frame[:3], three.frame)
    assert "top-2: each two experts of a token's two sets count once; the paper's affinity is of top-1" in three.notes


def test_an_empty_slot_is_no_expert() -> None:
    case = routed([[[[0, 1], [1]], [[1], [0, 1]]]], (2, 2))
    assert pairs(pathways(case.store, first=0), "n") == {
        (0, 0, 1, 0): (0,), (0, 0, 1, 1): (1,), (0, 1, 1, 0): (1,), (0, 1, 1, 1): (2,)
    }  # fmt: skip


def test_a_store_on_disk_gives_the_same_and_the_answer_comes_back_from_its_file(tmp_path: Path) -> None:
    case = random_case(6, n_prompts=8)
    found = pathways(disk_store(tmp_path / "store", case.anatomy, case.rows, 3), n_bootstrap=50)
    pd.testing.assert_frame_equal(found.frame, pathways(case.full_store, n_bootstrap=50).frame)
    found.to_parquet(tmp_path / "found.parquet")
    back = PairTable.read(tmp_path / "found.parquet")
    pd.testing.assert_frame_equal(back.frame, found.frame)
    assert (back.options, back.notes) == (found.options, found.notes)


def test_size_and_time_are_said_before_it_starts_and_refused_over_the_limit(capsys) -> None:
    small = pathways(golden().store)
    assert capsys.readouterr().err == ""
    assert any(
        note.startswith("15 pairs of experts over ") and "MB of memory and about 1 s" in note for note in small.notes
    )
    wide = routed([[[[0], [1]]] * 3] * 2, (1000, 1000))
    assert len(pathways(wide.store, n_bootstrap=0).frame) == 1000
    assert capsys.readouterr().err == "1,000,000 pairs of experts over 6 tokens: 192 MB of memory and about 1 s.\n"
    with pytest.raises(
        WorkbenchError,
        match=r"192 MB of memory and about 1 s, which is over limit_mb=100; read fewer tokens, or keep fewer",
    ):
        pathways(wide.store, limit_mb=100)


@pytest.mark.parametrize("how", [{"by": "x"}, {"first": -1}])
def test_unknown_words_are_refused(how: dict) -> None:
    with pytest.raises(WorkbenchError, match="by is excess, lift, affinity, first from 0"):
        pathways(golden().store, **how)
