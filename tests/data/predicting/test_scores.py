"""How well scores find carriers, and how they go with effects, on tables small enough to work out by hand."""

import numpy as np
import pandas as pd
import pytest
from predicting.measuring import predicts
from predicting.scores import found

EXPERTS = pd.MultiIndex.from_product([[0, 1], range(4)], names=["layer", "expert"])
CARRIERS = {(0, 1), (1, 3)}


def table(**scores):
    return pd.DataFrame(scores, index=EXPERTS, dtype=float)


def test_carriers_at_the_first_and_third_rank():
    own = found(table(a=[0, 9, 8, 1, 0.5, 0.4, 0.3, 7]), CARRIERS)["a"]
    assert (own["hits in 1"], own["hits in 2"], own["hits in 4"], own["hits in 8"]) == (1, 1, 2, 2)
    assert own["average precision"] == pytest.approx((1 / 1 + 2 / 3) / 2)
    assert own["area"] == pytest.approx((1 + 1 + 6 * 2) / 2 / 8)


def test_experts_without_a_score_come_last():
    own = found(table(a=[5, np.nan, 4, 3, 2, 1, 0, np.nan]), CARRIERS)["a"]
    assert own["hits in 4"] == 0
    assert own["area"] < found(table(a=[5, 6, 4, 3, 2, 1, 0, 7]), CARRIERS)["a"]["area"]


def test_equal_scores_gain_nothing_by_the_order_of_their_numbers():
    own = found(table(a=[0] * 8), {(0, 0)})["a"]
    assert own["hits in 4"] == pytest.approx(0.5, abs=0.1)
    assert own["area"] == pytest.approx(4.5 / 8, abs=0.1)


def test_a_score_that_orders_effects_backwards():
    scores = table(up=range(8), down=range(8, 0, -1), same=[1] * 8)
    effects = table(refused=[-x for x in range(8)], code=[0] * 8)
    assert predicts(scores, effects) == {"up": {"refused": -1.0}, "down": {"refused": 1.0}}


def test_effects_are_read_by_expert_and_not_by_row():
    scores = table(up=range(8))
    assert predicts(scores, table(refused=range(8)).iloc[::-1]) == {"up": {"refused": 1.0}}
