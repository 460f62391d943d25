"""The facts of a claim are those of its own model, and its grid varies one thing alone."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from workbench_app.experiments.report import write_report
from workbench_app.experiments.report.facts import Tables, claim_facts
from workbench_app.experiments.report.report import MARKS, render, with_claims
from workbench_app.experiments.tables import claims_table, read_tables, write_table

from tests.app.experiments.report.two_models import DOSE, recipe_of_two
from tests.app.experiments.runs import made_recipe, made_run
from workbench.bundled import bundled_path


def test_a_claims_facts_are_those_of_its_own_model(facts: Any) -> None:
    assert [(f.claim.name, f.row["model"]) for f in facts] == [
        ("falls", "other/brand"), ("falls", "some/model"), ("sums-stay", "other/brand"), ("sums-stay", "some/model"),
    ]  # fmt: skip
    other, falls, _, stays = facts
    assert falls.plan == ("off, first 2 by fTRI", "off L1E0; off L1E1", 0.637, 0.274, -0.363, -0.481, -0.242)
    assert other.plan[2:] == pytest.approx((0.2548, 0.1096, -0.1452, -0.1924, -0.0968))
    assert [(d.label, [m.difference for m in d.found]) for d in falls.draws] == [
        (label, [0.0, 0.01, 0.02]) for label in ("random, same number", "random, same layers", "random, used as often")
    ]
    assert falls.draws[1].found[2][:2] == ("random, same layers, draw 3", "off L5E2")
    assert falls.bottom[:2] == ("off, the other end's 2 by fTRI", "off L0E9")
    assert falls.bottom[2:] == (0.637, 0.66, 0.023, -0.011, 0.057)
    assert (falls.paper_change, falls.at_least) == (pytest.approx(-0.37), pytest.approx(0.185))
    assert (stays.paper_change, stays.at_least, stays.dose) == (None, None, None)
    assert stays.plan.difference == -0.009
    assert {k: falls.dose[k] for k in DOSE} == {
        "tokens": 4321,
        "tokens_changed": 1234,
        "slots": 8642,
        "slots_changed": 2468,
    }
    assert {k: other.dose[k] for k in DOSE} == DOSE
    assert stays.effect["n"] == 64
    assert stays.arm["arm"] == "P02"


def test_a_claims_grid_varies_one_thing_alone(facts: Any) -> None:
    (grid,) = facts[1].grids
    assert (grid.axis, grid.chosen) == ("experts", 1)
    assert [(name, m.label, len(draws)) for name, m, draws in grid.points] == [
        ("1", "off, first 1 by fTRI", 9), ("2", "off, first 2 by fTRI", 9),
    ]  # fmt: skip
    assert [m.plan for _, m, _ in grid.points] == ["off L1E0", "off L1E0; off L1E1"]
    assert grid.points[1][2][4].label == "random, same layers, draw 2"


def test_strengths_are_a_grid_in_the_order_of_their_size(tmp_path: Path) -> None:
    """mean, which is no number, comes last; another phase, another end and another name are other grids."""
    values = (
        *(("P03", "64", {}), ("P04", "mean", {}), ("P05", "8", {}), ("P06", "16", {"phase": "prompt"})),
        *(("P07", "16", {"end": "bottom"}), ("P08", "16", {"name": "x"}), ("P09", "16", {"n": 3}), ("P10", None, {})),
    )
    tables, made = read_tables(made_run(tmp_path / "run")), made_recipe()
    plan: Any = tables["arms"].query("arm == 'P02'").iloc[0].to_dict() | {"edit": "scale"}
    effect: Any = tables["effects"].query("arm == 'P02' and prompts == 'held'").iloc[0].to_dict()
    arms = [{**plan, "arm": arm, "value": value, **others} for arm, value, others in values]
    tables["arms"] = pd.concat([tables["arms"].query("arm != 'P02'"), pd.DataFrame([{**plan, "value": "2"}, *arms])])
    rows = [{**effect, "arm": arm} for arm, *_ in values]
    tables["effects"] = pd.concat([tables["effects"], pd.DataFrame(rows)], ignore_index=True)
    found = claim_facts(made, {**tables, "claims": claims_table(made, tables)})[0].grids
    assert [(g.axis, g.chosen, [name for name, *_ in g.points]) for g in found] == [
        ("strength of scale", 0, ["2", "8", "64", "mean"])
    ]


def test_figures_of_several_models_are_named_by_model(tmp_path: Path, tables: Tables) -> None:
    run = made_run(tmp_path / "run")
    (run / "recipe.toml").write_text(recipe_of_two().to_toml(), encoding="utf-8")
    for name, frame in tables.items():
        write_table(run, name, frame)
    assert write_report(run) == run / "report.html"
    names = sorted(file.name for file in (run / "figures").iterdir())
    assert names == [
        f"{claim}.{model}.svg" for claim in ("falls", "sums-stay") for model in ("other_brand", "some_model")
    ]
    for name, levels in (("other_brand", "25.5 % to 11 %"), ("some_model", "63.7 % to 27.4 %")):
        svg = (run / "figures" / f"falls.{name}.svg").read_text("utf-8").replace("\u00a0", " ")
        assert f"off L1E0; off L1E1: {levels}" in svg
    assert write_report(run) == run / "report.html"  # again, over what is there


def test_the_page_counts_and_says_what_was_run(tables: Tables) -> None:
    recipe = recipe_of_two()
    page = render(recipe, with_claims(recipe, tables), {"versions": {"tørch": "9"}}).replace("&nbsp;", " ")
    assert '"tørch": "9"'.replace('"', "&#34;") in page
    assert "some/model</code>, <code>other/brand</code>" in page
    assert page.count('<section class="claim"') == 4
    assert MARKS == {"appears": "●", "does not appear": "○", "undecided": "◐"}
    assert "tuned in training" not in page
    assert page.index("<summary>controls</summary>") < page.index("was lowered.")


def test_experts_tuned_in_training_are_known_of_the_demo_alone(tmp_path: Path) -> None:
    tuned = json.loads((bundled_path("demo-model") / "implant.json").read_text("utf-8"))["refusal_carriers"]
    for model, shown in (("demo", 1), ("some/model", 0)):
        run = made_run(tmp_path / model.replace("/", "-"), model=model)
        layer, expert = tuned[0]
        first = read_tables(run)["scores"].assign(layer=layer, expert=lambda f: f["rank"] * 100)
        first.loc[first["rank"] == 1, "expert"] = expert
        write_table(run, "scores", first)
        page = write_report(run).read_text("utf-8")
        assert page.count("<td>tuned in training: refusal</td>") == shown
