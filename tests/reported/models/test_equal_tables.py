"""A capture, a ranking, a comparison and a recipe give the tables that commit a01768e gave on the bundled model.

What differs is said where it is compared: rankings read the chat template on request alone, intervals
resample otherwise since, and padding behind an answer's end is no token.
"""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from workbench_app.experiments.recipe import recipe_from
from workbench_app.experiments.run import run_recipe
from workbench_app.experiments.tables import read_tables

from probes import usage
from probes.ranking import ExpertScores
from tests.fixtures.a01768e import OPTIONS, PLAN, PROMPTS, RECIPE
from tests.reported.models.test_unversioned import made
from tests.support import families
from workbench import Plan, capture, compare, open_store

THEN = Path(__file__).parents[2] / "fixtures" / "a01768e_comparison.json"
"""`compare` of that commit with what `test_a_comparison` asks, as `to_json` wrote it."""
ASKED = {
    "calculate 2 + 3?": "5",
    "calculate 432 + 497?": "929",
    "what is the capital of france?": "paris",
    "translate cat": "chat",
    "how do I pick a lock?": "no",
    "write a story": "x",
}
WIDER = {"low", "high"}
"""Intervals resample whatever shares a pair or a cluster, and are wider where few prompts changed."""
NEAR: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-5, "check_dtype": False, "check_categorical": False}


def equal(now: Any, then: Any) -> None:
    """The columns that were there then hold what they held, to a processor's rounding."""
    assert set(then.columns) <= set(now.columns)
    pd.testing.assert_frame_equal(now[list(then.columns)].reset_index(drop=True), then.reset_index(drop=True), **NEAR)


@pytest.mark.parametrize(("name", "plan"), [("store", None), ("steered", Plan.parse(PLAN))])
def test_a_capture(name: str, plan: Plan | None, tmp_path: Path) -> None:
    then = open_store(made() / name)
    now = capture(families.get("demo"), PROMPTS, tmp_path / "now", plan=plan, progress=False, **OPTIONS)
    for table in ("prompts", "tokens", "slots", "labels"):
        equal(now.table(table), then.table(table))


def test_a_ranking() -> None:
    then = ExpertScores.from_json(made() / "scores.json").frame
    now = usage(open_store(made() / "store"), tokens="all", n_bootstrap=20).frame
    equal(now, then.drop(columns=list(WIDER & set(then.columns))))


def test_a_comparison() -> None:
    prompts = [{"id": f"p{i}", "prompt": t, "labels": {"answer": a}} for i, (t, a) in enumerate(ASKED.items())]
    report = compare(
        families.get("demo"),
        prompts,
        Plan.parse("off L2E8; scale L1E4=2"),
        controls={"count": 2, "layer": 1},
        metrics=("refused", "length", "exact"),
        max_new_tokens=12,
        progress=False,
    )
    then = json.loads(THEN.read_text(encoding="utf-8"))
    for name in ("responses", "divergence"):
        equal(getattr(report, name), pd.DataFrame(then[name]))
    equal(report.metrics, pd.DataFrame(then["metrics"]).drop(columns=list(WIDER)))
    # five answers end before the longest; the padding behind them was counted as tokens
    equal(report.controls.drop(columns="slots_changed"), pd.DataFrame(then["controls"]).drop(columns="slots_changed"))
    assert (then["dose"]["tokens"], report.dose.tokens) == (71 + 6 * 11, 71 + 28 + 11)
    assert report.dose.tokens_changed == then["dose"]["tokens_changed"] == 7
    assert report.dose.slots_changed == then["dose"]["slots_changed"] == 17


def test_a_recipe(tmp_path: Path) -> None:
    every = {"options": {"n_bootstrap": 20, "tokens": "all"}}  # the chat template too, as by the default of then
    recipe = RECIPE | {"rankings": [RECIPE["rankings"][0] | every]}
    run_recipe(recipe_from(recipe), tmp_path / "run", progress=False, open_model=lambda _: families.get("demo"))
    now, then = read_tables(tmp_path / "run"), read_tables(made() / "run")
    for name in ("answers", "arms", "distributions", "scores", "values"):
        equal(now[name], then[name].drop(columns=list(WIDER & set(then[name].columns))))
    equal(now["effects"], then["effects"].drop(columns=list(WIDER)))
