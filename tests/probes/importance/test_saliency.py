"""Saliency at its limits: what it shares with usage, what sizes and values that are not finite do to it, what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from probes import easy_ep, saliency, usage
from tests.probes.oracle.cases import Case, golden, random_case
from tests.probes.oracle.checks import scores
from tests.probes.oracle.importance.cases import sized, turned
from tests.probes.oracle.memory import disk_store
from workbench.errors import WorkbenchError


def test_frequency_and_gate_mass_are_usage_with_its_intervals() -> None:
    store = random_case(3).store
    for options, measure in (({"gate": 0}, "rate"), ({}, "weight")):
        own = saliency(store, frequency=True, power=0, **options).frame
        pd.testing.assert_frame_equal(own, usage(store, measure=measure).frame)


def test_intervals_end_where_one_pair_alone_would() -> None:
    # the clusters are the pairs x = (a, b) and y = (c, d); L1E0 by x alone (1 + 1/2) / 3, by y alone (3 + 8) / 3
    found: Any = saliency(sized().store, tokens="prompt").frame
    row: Any
    (row,) = found[(found["layer"] == 1) & (found["expert"] == 0)].itertuples()
    assert (row.low, row.high) == pytest.approx((0.5, 11 / 3))
    dead = found[found["n"] == 0].iloc[0]
    assert (dead["flags"], np.isnan([dead["score"], dead["low"], dead["high"]]).all()) == ("dead", True)


def scaled(case: Case, by: float) -> Case:
    for slot in case.rows["slots"]:
        slot["output_l2"] *= by
    return case


@pytest.mark.parametrize("power", [0.5, 1, 2])
def test_twice_the_size_is_twice_to_the_power(power: float) -> None:
    once, twice = saliency(random_case(5).store, power=power), saliency(scaled(random_case(5), 4.0).store, power=power)
    assert twice.frame["score"].to_numpy() == pytest.approx(once.frame["score"].to_numpy() * 4**power, nan_ok=True)


def test_experts_that_do_the_same_tie() -> None:
    case = sized()
    for slot in case.rows["slots"]:
        slot |= {"output_l2": 3.0, "weight": 0.5}
    found = saliency(case.store, n_bootstrap=0).frame
    assert set(found["score"].dropna()) == {1.5}
    assert set(found["flags"]) == {"ties", "dead"}


def test_a_size_that_is_not_finite_is_left_out_with_its_token() -> None:
    case = sized()
    broken = next(s for s in case.rows["slots"] if (s["prompt_id"], s["layer"], s["expert"]) == ("c", 1, 0))
    broken["output_l2"] = float("inf")
    # L1E0 without c: (1 + 1/2 + 8) / 5
    assert scores(saliency(case.store, tokens="prompt"))[1, 0] == (pytest.approx(9.5 / 5), 5)


def test_a_store_on_disk_gives_the_same(tmp_path: Path) -> None:
    case = random_case(6, n_prompts=8)
    found = saliency(disk_store(tmp_path / "store", case.anatomy, case.rows, 3))
    pd.testing.assert_frame_equal(found.frame, saliency(case.full_store).frame)


def test_what_cannot_be_asked_is_a_sentence() -> None:
    with pytest.raises(
        WorkbenchError, match=r"kept no norms of what its experts write; capture it again with keep={'norms'}"
    ):
        saliency(golden().store)
    with pytest.raises(
        WorkbenchError, match="gate=-1 and power=1 are exponents of a saliency; give 0 or more for both"
    ):
        saliency(sized().store, gate=-1)
    assert saliency(golden().store, power=0).notes[0].startswith("no member with a name: the mean of weight")
    bare = golden().store
    bare.plan_json["lacks"] = ["weight"]
    with pytest.raises(WorkbenchError, match="expert ids without their routing weights"):
        saliency(bare, power=0)


@pytest.mark.filterwarnings("error")
def test_exponents_that_overflow_are_a_sentence_and_which_end_can_go_is_said() -> None:
    with pytest.raises(
        WorkbenchError, match=r"^gate=1 and power=1000 take weights .* over the largest number .*such as 1 or 2\.$"
    ):
        saliency(sized().store, power=1000)
    assert "the experts that can go are the last rows: pruning takes the lowest scores" in saliency(sized().store).notes
    said = easy_ep(turned().full_store).notes
    assert "the experts that can go are the last rows of each layer: pruning takes its lowest scores" in said
