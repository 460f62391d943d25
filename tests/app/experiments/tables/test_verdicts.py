"""A verdict has its reason, and a claim that cannot be judged has one as well."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from workbench_app.experiments.recipe import Claim
from workbench_app.experiments.tables import claims_table, read_tables
from workbench_app.experiments.tables.claims import Effect, verdict

from tests.app.experiments.runs import MATCHES, made_recipe, made_run

NAN = float("nan")


@pytest.mark.parametrize(
    ("claim", "effect", "draws", "word", "why"),
    [
        ({}, (NAN, NAN, NAN), [], "undecided", "no interval: it needs two clusters of prompts with a value under both"),
        ({}, (-0.3, -0.4, -0.2), [0.1, -0.2], "appears", "the interval excludes 0, and no random draw of 2 moved it as far"),
        ({"at_least": 0.5}, (-0.3, -0.4, -0.2), [0.1], "appears",
         "the interval excludes 0, and no random draw of 1 moved it as far, though smaller than was asked for"),
        ({"at_least": 0.4}, (-0.3, -0.4, -0.2), [0.1], "appears",
         "the interval excludes 0, and no random draw of 1 moved it as far"),
        ({}, (0.2, 0.1, 0.3), [0.0], "does not appear", "the interval lies on the other side of 0"),
        ({}, (0.0, -0.04, 0.0), [0.0], "does not appear", "the interval excludes a change of 5 points or more in that direction"),
        ({"at_least": 0.3}, (-0.1, -0.29, 0.1), [0.0], "does not appear",
         "the interval excludes a change of 30 points or more in that direction"),
        ({}, (-0.3, -0.4, -0.2), [-0.3, -0.5, 0.9], "undecided",
         "the interval excludes 0, but 2 of 3 random draws moved it as far"),
        ({}, (-0.3, -0.4, -0.2), [], "undecided", "the interval excludes 0, but no random experts were drawn"),
        ({}, (-0.3, -0.4, 0.0), [0.0], "undecided", "the interval holds both 0 and a change of 5 points"),
        ({"at_least": 0.4}, (-0.3, -0.4, 0.1), [0.0], "undecided", "the interval holds both 0 and a change of 40 points"),
        ({"direction": "up"}, (0.3, 0.2, 0.4), [-0.9], "appears",
         "the interval excludes 0, and no random draw of 1 moved it as far"),
        ({"direction": "none"}, (0.0, -0.05, 0.05), [], "appears", "the interval lies within ±5 points"),
        ({"direction": "none", "within": 0.1}, (0.2, 0.11, 0.3), [], "does not appear", "the interval lies outside ±10 points"),
        ({"direction": "none"}, (-0.2, -0.3, -0.06), [], "does not appear", "the interval lies outside ±5 points"),
        ({"direction": "none"}, (0.0, 0.05, 0.06), [], "undecided", "the interval lies neither within ±5 points nor outside"),
        ({"direction": "none"}, (0.0, -0.06, -0.05), [], "undecided", "the interval lies neither within ±5 points nor outside"),
    ],
)  # fmt: skip
def test_a_verdict_has_its_reason(claim: Any, effect: Any, draws: Any, word: str, why: str) -> None:
    import numpy as np

    about = {"name": "c", "text": "t", "prompts": "held", "metric": "refused", "direction": "down"} | claim
    assert verdict(Claim(**about), Effect(*effect), np.array(draws, float)) == (word, why)


def test_a_claim_without_a_plan_or_a_measurement_has_its_reason(tmp_path: Path) -> None:
    tables, recipe = read_tables(made_run(tmp_path / "run")), made_recipe()
    gone = {**tables, "effects": tables["effects"].query("arm != 'P02' or prompts != 'held'")}
    falls, stays = claims_table(recipe, gone).to_dict("records")
    assert (falls["verdict"], falls["why"], falls["arm"]) == ("undecided", "it was not measured (see the notes)", "P02")
    assert stays["why"] == "the interval lies within ±5 points"
    assert (falls["n_draws"], stays["n_draws"]) == (0, 0)
    drawn = tables["effects"].assign(
        difference=lambda f: f["difference"].where(~f["arm"].isin([f"P02.{m}.0" for m in MATCHES]), NAN)
    )
    falls = claims_table(recipe, {**tables, "effects": drawn}).iloc[0]
    assert (falls["n_draws"], falls["random_low"], falls["random_median"], falls["random_high"]) == (
        6,
        0.01,
        0.015,
        0.02,
    )
    assert (falls["p_adjusted"], falls["text"], falls["direction"], falls["paper_model"]) == (
        0.0213,
        "Refusals fall",
        "down",
        "R1",
    )
    other = pd.concat([tables["effects"].assign(model="other", difference=9.0, low=9.0), tables["effects"]])
    assert claims_table(recipe, {**tables, "effects": other}).iloc[0]["difference"] == -0.363
