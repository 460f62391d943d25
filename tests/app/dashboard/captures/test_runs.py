"""The runs of a project: how far they are, their plans and their reports."""

from dataclasses import replace
from types import SimpleNamespace

import pandas as pd
from workbench_app.dashboard.captures import runs, runs_panel
from workbench_app.dashboard.session import Catalog

from tests.app.dashboard.captures.made import run_of
from tests.app.dashboard.session.test_view import PLAN
from tests.app.paper import assert_drawn, drawn, write_on
from tests.app.world import SHAPE, view_of
from workbench import Plan


def test_runs_are_listed_with_how_far_they_are(tmp_path, monkeypatch):
    recipe = 'name = "n"\ntitle = "A title"\n'
    run_of(tmp_path, "a", recipe_toml=recipe)
    (tmp_path / "runs" / "a" / "units").mkdir()
    for i in range(2):
        (tmp_path / "runs" / "a" / "units" / f"{i}.parquet").write_text("")
    run_of(tmp_path, "b", recipe_toml='name = "only a name"\n', report_html="<b>")
    run_of(tmp_path, "c", recipe_toml="=")
    run_of(tmp_path, "d", plan_json=PLAN.to_json(), report_html="x")
    run_of(tmp_path, "e", plan_json="{")
    run_of(tmp_path, "f", report_html="x")
    run_of(tmp_path, "g", recipe_toml="x = 1\n")
    for name, verdicts in (("b", ["held", "held", "failed"]), ("c", []), ("g", None)):
        (tmp_path / "runs" / name / "tables" / "units.parquet").write_text("")
        if verdicts is not None:
            pd.DataFrame({"verdict": pd.Series(verdicts, dtype=str)}).to_parquet(
                tmp_path / "runs" / name / "tables" / "claims.parquet"
            )
    found = runs.runs_inside(Catalog({}, {}, tmp_path).runs(), tmp_path)
    assert [(r.name, r.is_experiment, r.report is not None, runs.described(r), runs.state(r)) for r in found] == [
        ("a", True, False, "A title", "unfinished, 2 pieces of work done"),
        ("b", True, True, "only a name", "2 held, 1 failed"),
        ("c", True, False, "cannot be read", "complete, no claims"),
        ("d", False, True, "off L0E1", "complete"),
        ("e", False, False, "cannot be read", "no report"),
        ("f", False, True, "no plan", "complete"),
        ("g", True, False, "g", "cannot be read"),
    ]
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "runs" / "b" / "report.html").unlink()
    (tmp_path / "runs" / "b" / "report.html").symlink_to(tmp_path / "elsewhere" / "x")
    inside = runs.runs_inside({r.name: r.path for r in found}, tmp_path / "runs")
    assert [r.name for r in inside] == ["a", "c", "d", "e", "f", "g"]
    assert runs.claims_of(found[2]) is None
    assert runs.plans_of(found[2], {"x"}) == {}


def finished(project):
    """A run with a claim that was held, and six arms of which two are plans of the model "tiny" that do something."""
    made = run_of(project, "exp\x07", recipe_toml='name = "n\\u0007"\n')
    (made / "tables" / "units.parquet").write_text("")
    claims = {"text": "Falls\x07", "model": "tiny", "metric": "refused", "base": 0.5, "steered": 0.25, "difference": -0.25,
              "low": -0.5, "high": 0.0, "verdict": "held"}  # fmt: skip
    pd.DataFrame([claims]).to_parquet(made / "tables" / "claims.parquet")
    arms = [
        ("tiny", "one", "plan", "off L0E2"),
        ("other", "two", "plan", "off L0E3"),
        ("tiny", "three", "explicit", "mute L1E1"),
        ("tiny", "four", "random", "off L1E3"),
        ("tiny", "five", "bottom", "off L1E0"),
        ("tiny", "six", "plan", ""),
    ]
    pd.DataFrame(arms, columns=["model", "arm", "kind", "plan"]).to_parquet(made / "tables" / "arms.parquet")


def test_the_runs_of_a_project_give_their_plans_and_reports(tmp_path, monkeypatch):
    paper, look = write_on(monkeypatch, plan=Plan()), view_of(tmp_path)
    runs_panel.runs_panel(look)
    run_of(tmp_path, "demo", plan_json=PLAN.to_json(), report_html="x")
    finished(tmp_path)
    monkeypatch.setattr(runs_panel, "changed_at", lambda run: "then")
    paper.answers["runs-load"] = True
    runs_panel.runs_panel(look)
    assert paper.session_state.plan.fingerprint == SHAPE.fingerprint
    paper.answers["runs-one"] = "exp\x07"
    paper.answers["runs-plan"] = "three: mute L1E1"
    runs_panel.runs_panel(look)
    assert str(paper.session_state.plan) == "mute L1E1"
    paper.answers["runs-load"] = False
    object.__setattr__(look, "name", "nobody")
    object.__setattr__(look, "machine", SimpleNamespace(model=SimpleNamespace(anatomy=replace(SHAPE, model="nobody"))))
    runs_panel.runs_panel(look)
    runs_panel.use_plan(
        look, runs.Run("x", tmp_path / "runs" / "x"), lambda: Plan.from_json(tmp_path / "runs" / "x" / "plan.json")
    )
    assert_drawn("runs", drawn(paper))


def test_a_run_was_changed_when_its_folder_was(tmp_path):
    from datetime import datetime

    run = runs.Run("a", run_of(tmp_path, "a"))
    assert runs_panel.changed_at(run) == datetime.fromtimestamp(1_000_000_001)
