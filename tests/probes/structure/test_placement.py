"""Placements where the best is known; what is measured on held-out prompts; what is refused, and said before it starts."""

import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from probes import SetTable, placement
from tests.probes.oracle.cases import golden, random_case
from tests.probes.oracle.memory import disk_store
from tests.probes.oracle.structure.checks import devices_of
from tests.probes.structure.made import routed
from workbench import Plan
from workbench.errors import WorkbenchError


def families(n_prompts: int = 40, stray: float = 0.0):
    """Four layers of 8 experts; a token stays among 0, 3, 5, 6 or among the others, but for a share of strays."""
    rng, one = np.random.default_rng(0), [0, 3, 5, 6]
    sides = [one, [e for e in range(8) if e not in one]]
    prompts = []
    for number in range(n_prompts):
        side = sides[number % 2]
        prompts.append(
            [
                [[int(rng.integers(8) if rng.random() < stray else rng.choice(side))] for _ in range(4)]
                for _ in range(20)
            ]
        )
    return routed(prompts, (8, 8, 8, 8))


@pytest.mark.parametrize("one_program", [False, True])
def test_families_of_experts_get_a_device_each_and_nothing_crosses(one_program: bool) -> None:
    found = placement(families().store, one_program=one_program)
    first = [1, 0, 0, 1, 0, 1, 1, 0] if devices_of(found)[0][0] else [0, 1, 1, 0, 1, 0, 0, 1]
    assert list(devices_of(found).values()) == [first] * 4
    assert found.frame["stays"].unique().tolist() == [1.0]
    # 20 prompts of 20 tokens with 3 steps are held out; of each 4 x 4 pairs of a family the round-robin parts a half
    said = numbers(found)
    assert [said[name] for name in ("mine", "saved", "low", "high")] == [0, 100, 100, 100]
    assert 40 < said["robin"] < 60
    assert found.notes[0].startswith("0.0 % of 1,200 pairs of experts that follow each other cross")
    assert "placed on 20 clusters of prompts, measured on 20 others" in found.notes


def numbers(found: SetTable) -> dict[str, float]:
    """What the first note says: shares that cross, in %, and what is saved with its interval."""
    said = re.match(
        r"(?P<mine>[\d.]+) % of .* cross; round-robin (?P<robin>[\d.]+) %: (?P<saved>-?[\d.]+) % "
        r"\((?P<low>-?[\d.]+) to (?P<high>-?[\d.]+)\) saved; at random (?P<random>[\d.]+) %",
        found.notes[0],
    )
    assert said, found.notes[0]
    return {name: float(text) for name, text in said.groupdict().items()}


def test_routing_at_random_has_nothing_to_save_but_on_the_tokens_that_were_seen() -> None:
    out = numbers(placement(families(stray=1.0).store, devices=4))
    # 3 of 4 devices are other ones; 1,200 pairs: a share of 0.75 is known to 1.25 points, what is saved to about 2.4 %
    assert (out["mine"], out["robin"], out["random"]) == pytest.approx((75, 75, 75), abs=4)
    assert out["low"] < 5
    seen = placement(families(stray=1.0).store, devices=4, heldout=0.0)
    assert numbers(seen)["low"] > 0, "the same tokens flatter it"
    assert "placed and measured on the same tokens, which flatters it" in seen.notes


def test_a_set_is_a_plan() -> None:
    found = placement(families().store)
    assert len(Plan.off(found.experts("device 1"))) == 16


def test_layers_that_do_not_divide_are_spread_as_evenly_as_they_can() -> None:
    found = devices_of(placement(golden().store, devices=4, heldout=0.0, tokens="all"))
    assert sorted(np.bincount(found[1], minlength=4)) == [0, 1, 1, 1]
    assert sorted(np.bincount(found[2], minlength=4)) == [1, 1, 1, 2]


def test_a_store_on_disk_gives_the_same_and_the_answer_comes_back_from_its_file(tmp_path: Path) -> None:
    case = random_case(6, n_prompts=8)
    found = placement(disk_store(tmp_path / "store", case.anatomy, case.rows, 3), n_bootstrap=50)
    pd.testing.assert_frame_equal(found.frame, placement(case.full_store, n_bootstrap=50).frame)
    found.to_csv(tmp_path / "found.csv")
    assert SetTable.read(tmp_path / "found.csv").experts() == found.experts()


def test_too_large_a_program_is_refused_with_what_makes_it_smaller(capsys) -> None:
    # 2 x (32 experts + 16 pairs that occur for each of 3 steps and 2 families) = 2 x (32 + 96)
    with pytest.raises(
        WorkbenchError,
        match=r"One program for 32 experts on 2 devices has 256 variables, over limit=200; leave one_program away, "
        r"which goes layer after layer, use fewer devices, or raise limit\.",
    ):
        placement(families(80).store, one_program=True, heldout=0.0, limit=200)
    with pytest.raises(
        WorkbenchError, match=r"32 experts on 2 devices by 800 tokens: 0.1 MB .* over limit_mb=0; read fewer tokens"
    ):
        placement(families().store, limit_mb=0)
    assert capsys.readouterr().err == ""
    placement(routed([[[[0], [1]]] * 3] * 2, (700, 700)).store, seconds=0.5)
    assert re.match(
        r"1,400 experts on 2 devices by 6 tokens: .* MB of memory and about \d+ s\.\n$", capsys.readouterr().err
    )


def test_time_that_is_over_gives_the_best_so_far() -> None:
    found = placement(families().store, seconds=1e-9)
    assert "layer after layer: seconds=1e-09 were over in start 1 of 5" in found.notes
    assert "round-robin" in found.notes[0]


@pytest.mark.parametrize("how", [{"devices": 1}, {"heldout": 1.0}, {"heldout": -0.1}, {"seconds": 0.0}])
def test_numbers_out_of_range_are_refused(how: dict) -> None:
    with pytest.raises(
        WorkbenchError, match="place no experts; give 2 devices or more, heldout from 0 to below 1, and some"
    ):
        placement(golden().store, **how)


def test_without_scipy_it_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    with pytest.raises(WorkbenchError, match=r"scipy, which is not installed: pip install 'scipy>=1\.15'"):
        placement(golden().store)


def test_more_devices_than_experts_are_refused_before_anything_is_solved(capsys) -> None:
    with pytest.raises(
        WorkbenchError, match=r"^devices=9 are more than the 8 experts of a layer of .*; give 2 to 8 devices\.$"
    ):
        placement(families().store, devices=9)
    assert capsys.readouterr().err == ""
    assert placement(families(4).store, devices=8).options["devices"] == 8
