"""The verdict rule: what appears, what does not, and what stays undecided; on numbers small enough to check by eye."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from workbench_app.experiments.recipe import recipe_from
from workbench_app.experiments.tables import ABSENT, APPEARS, UNDECIDED, at_least, claims_table, paper_change
from workbench_app.experiments.tables.claims import Effect, verdict
from workbench_app.experiments.tables.schema import as_table

from tests.app.experiments.runs import RECIPE, made_recipe, made_tables

NAN = float("nan")
DRAWS = np.array([-0.02, 0.0, 0.03])


def claim(**changes: Any) -> Any:
    base = {k: v for k, v in RECIPE["claims"][0].items() if k != "paper"}
    return recipe_from({**RECIPE, "claims": [{**base, **changes}]}).claims[0]


@pytest.mark.parametrize(
    ("effect", "draws", "word"),
    [
        (Effect(-0.30, -0.40, -0.20), DRAWS, APPEARS),
        (Effect(-0.30, -0.40, -0.20), np.array([-0.30, 0.0]), UNDECIDED),  # one draw moved it as far
        (Effect(-0.30, -0.40, -0.20), np.array([]), UNDECIDED),  # nothing to compare with
        (Effect(-0.03, -0.04, -0.02), DRAWS, APPEARS),  # smaller than asked for, but there
        (Effect(-0.02, -0.04, -0.01), DRAWS, ABSENT),  # as far as a draw, and 5 points are excluded
        (Effect(0.00, -0.03, 0.03), DRAWS, ABSENT),  # 5 points are excluded
        (Effect(0.20, 0.10, 0.30), DRAWS, ABSENT),  # the other side
        (Effect(-0.06, -0.20, 0.08), DRAWS, UNDECIDED),  # holds 0 and 5 points
        (Effect(-0.06, NAN, NAN), DRAWS, UNDECIDED),
    ],
)
def test_the_rule_for_a_fall_and_its_mirror_for_a_rise(effect: Effect, draws: np.ndarray, word: str) -> None:
    assert verdict(claim(direction="down"), effect, draws).word == word
    mirrored = Effect(-effect.difference, -effect.high, -effect.low)
    assert verdict(claim(direction="up"), mirrored, -draws).word == word


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [
        (-0.04, 0.05, APPEARS),
        (-0.06, 0.01, UNDECIDED),
        (-0.2, 0.2, UNDECIDED),
        (0.051, 0.2, ABSENT),
        (-0.3, -0.06, ABSENT),
    ],
)
def test_nothing_changes_where_the_interval_lies_within_the_band(low: float, high: float, word: str) -> None:
    assert verdict(claim(direction="none"), Effect((low + high) / 2, low, high), DRAWS).word == word


def test_a_wider_band_is_the_claims_own() -> None:
    assert verdict(claim(direction="none", within=0.2), Effect(0.1, 0.06, 0.15), DRAWS).word == APPEARS


def test_what_an_effect_must_reach() -> None:
    paper = {"what": "refusals", "base": 0.9, "steered": 0.5}
    assert at_least(claim(), 0.6) == 0.05
    assert at_least(claim(at_least=0.3, paper=paper), 0.6) == 0.3
    assert at_least(claim(paper=paper), 0.6) == pytest.approx(0.2)
    assert at_least(claim(paper={"what": "x", "difference": -0.41}), 0.6) == pytest.approx(0.205)
    # 80 fewer of 200 is a fall by 40 %; of our 0.6 that is 0.24, half of it 0.12
    relative = {"what": "x", "base": 200.0, "steered": 120.0, "relative": True}
    assert paper_change(claim(paper=relative), 0.6) == pytest.approx(-0.24)
    assert at_least(claim(paper=relative), 0.6) == pytest.approx(0.12)


def test_the_paper_decides_how_much_is_needed() -> None:
    """A fall by 10 points is excluded as soon as the paper's fall by 40 is what the claim is about."""
    effect = Effect(-0.01, -0.12, 0.1)
    assert verdict(claim(), effect, DRAWS).word == UNDECIDED
    paper = {"what": "refusals", "base": 0.9, "steered": 0.5}
    assert verdict(claim(paper=paper), effect, DRAWS).word == ABSENT


def test_the_table_is_the_claims_beside_their_arms_and_draws(tmp_path: Path) -> None:
    table = claims_table(made_recipe(), made_tables(tmp_path / "run"))
    falls, stays = table.iloc[0], table.iloc[1]
    assert (falls["arm"], falls["verdict"], falls["n_draws"]) == ("P02", APPEARS, 9)
    assert (falls["base"], falls["difference"], falls["low"], falls["high"]) == (0.637, -0.363, -0.481, -0.242)
    assert (falls["random_low"], falls["random_median"], falls["random_high"]) == (0.0, 0.01, 0.02)
    assert (falls["paper_base"], falls["paper_grade"]) == (0.9, "abstract")
    assert (stays["verdict"], stays["n_draws"]) == (APPEARS, 0)
    assert as_table("claims", table).num_rows == 2  # fits the run's schema


def test_a_plan_that_could_not_be_run_is_undecided_with_the_reason(tmp_path: Path) -> None:
    tables = made_tables(tmp_path / "run")
    tables["arms"].loc[tables["arms"]["arm"] == "P02", "reason"] = "force of 5 experts, 4 are selected"
    row = claims_table(made_recipe(), tables).iloc[0]
    assert row["verdict"] == UNDECIDED
    assert "was not run on this model" in row["why"]
