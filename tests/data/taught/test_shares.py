"""Wilson's interval and kappa, against values worked by hand."""

import pytest
from smollm2.taught.shares import kappa, share


def test_wilson_by_hand():
    found = share([True] * 9 + [False])  # (9 + 1.9207) / 13.8415, +- 1.96 sqrt(0.9 + 0.9604) / 13.8415
    assert (found.k, found.n, found.value) == (9, 10, 0.9)
    assert (round(found.low, 4), round(found.high, 4)) == (0.5958, 0.9821)
    assert str(found) == "90.0 % [59.6, 98.2] (9 of 10)"


def test_none_and_all_stay_between_0_and_1():
    none, every = share([False] * 20), share([True] * 20)
    assert (none.low, round(none.high, 4)) == (0.0, 0.1611)  # z^2 / (n + z^2)
    assert (round(every.low, 4), every.high) == (0.8389, 1.0)


def test_no_answer_has_no_share():
    with pytest.raises(ValueError, match="no answer"):
        share([])


def test_kappa_by_hand():
    assert kappa([True, True, False, False], [True, False, False, False]) == 0.5  # 3/4 alike, 1/2 by chance
    assert kappa([True, False], [False, True]) == -1
    assert kappa([True, True], [True, True]) == 1
