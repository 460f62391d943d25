"""The page on which score predicts what: its intervals, its verdict, and that it stands as its results say."""

import math

import pytest
import which_score
from predicting.page import over_seeds, page


def arm(seed, **precision):
    found = {
        name: {"average precision": x, "hits in 4": 1.0, "hits in 8": 2.0, "area": 0.5} for name, x in precision.items()
    }
    base = {name: {**one, "average precision": 0.1} for name, one in found.items()}
    told = {name: {"sensitive refused": -0.5, "sensitive answered": 0.25, "code": 0.0} for name in precision}
    about = {"arm": f"{seed}-router", "seed": seed, "sha256": "0" * 64, "refused": {"It needs more.": ["tcess"]}}
    return {**about, "found": found, "found on the base": base, "predicts": told}


def arms(*precisions):
    return {f"{seed}-router": arm(seed, **{"token id alone": 0.2, **one}) for seed, one in enumerate(precisions)}


def test_arms_of_a_seed_count_once():
    over = over_seeds([(0, 1.0), (0, 3.0), (1, 4.0)])
    assert over.mean == 3.0
    # Student's t with one degree of freedom is 12.706 at 97.5 %; the seeds' means 2 and 4 differ from 3 by 1
    assert over.high - over.mean == pytest.approx(12.706, abs=1e-3)
    assert over.mean - over.low == pytest.approx(12.706, abs=1e-3)


def test_one_seed_has_no_interval_and_none_no_mean():
    assert math.isnan(over_seeds([(0, 1.0)]).low)
    assert str(over_seeds([(0, 1.0)])) == "1.00"
    assert over_seeds([]) is None


def test_a_score_that_finds_them_in_every_seed_is_named():
    text = page(arms({"good": 0.9, "bad": 0.2}, {"good": 0.91, "bad": 0.21}, {"good": 0.92, "bad": 0.19}))
    assert "is the average precision of 1: **good**." in text
    assert text.index("| good |") < text.index("| bad |")


def test_a_score_that_finds_them_in_one_seed_alone_is_not():
    text = page(arms({"lucky": 0.9}, {"lucky": 0.1}, {"lucky": 0.2}))
    assert "None of them finds the carriers well" in text


def test_a_score_that_finds_them_on_the_base_alike_is_not():
    made = arms({"norm": 0.9}, {"norm": 0.91}, {"norm": 0.92})
    for one in made.values():
        one["found on the base"]["norm"]["average precision"] = 0.95
    assert "None of them finds the carriers well" in page(made)


def test_an_arm_without_carriers_is_left_out_of_what_finds_them():
    made = arms({"good": 0.9}, {"good": 0.91})
    made["9-natural"] = {**arm(9, good=0.1), "found": {}, "found on the base": {}}
    assert "3 arms of 3 seeds" in page(made)
    assert "2 of them were taught" in page(made)
    assert "| good | 0.91 [" in page(made)


def test_the_page_says_what_its_results_say():
    assert which_score.PAGE.read_text("utf-8") == page(which_score.results(), which_score.real_figures())
