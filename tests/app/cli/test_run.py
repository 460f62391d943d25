"""'workbench run' and `workbench report` over made-up runs: whole pages and whole refusals."""

import json
from pathlib import Path
from typing import Any

import pytest
from workbench_app.experiments import run as running
from workbench_app.experiments import spread
from workbench_app.experiments.engine import ModelPlan
from workbench_app.experiments.recipe import read_sets
from workbench_app.experiments.run import Finished
from workbench_app.experiments.tables import read_table, write_table

from tests.app.cli.printed import columns, run
from tests.app.experiments.runs import made_recipe, made_run
from workbench.replicas import Cluster

pytestmark = pytest.mark.usefixtures("wide")


PLAN = ModelPlan(
    "some/model", "f00d", "bfloat16", "cpu", "2 routed experts", {"base": 1, "plan": 2, "random": 1200},
    {"answers": 1000, "sinks": 3}, 12_345, 67_890, 1_110, 2_500_000, 40_560, 1234.5, 98_765.4, 3725.0,
)  # fmt: skip


@pytest.fixture
def toml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "made.toml"
    path.write_text(made_recipe(controls={"usage": 9}).to_toml(), encoding="utf-8")
    return path


def test_a_dry_run_prints_what_would_be_done(toml: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "plan_run", lambda recipe, own_functions: [PLAN] if not own_functions else [])
    said = run("run", toml, "--dry-run")
    assert said.exit_code == 0, said.output
    assert said.stdout.splitlines() == [
        "made: A made-up run",
        "some/model (bfloat16, cpu)",
        "  arms: 1 base, 2 plan, 1,200 random",
        "  units at most: 1,003 (1,000 answers, 3 sinks); equal plans are run once",
        "  answers at most: 12,345; tokens at most: 69,000",
        "  time: about 1 h 02 min if every answer is as long as it may be, rankings and tables not counted (1,234 tokens/s "
        "answering, 98,765 reading, measured now)",
        "  disk: about 2.5 MB of captures and 40.6 kB of answers at most",
        "Nothing was written.",
    ]
    assert said.stderr == (
        "The recipe asks for 9 random draws matched by usage, fewer than 10: a plan that beats them all may do so by chance.\n"
    )
    assert not (toml.parent / "runs").exists()
    found = json.loads(run("run", toml, "--dry-run", "--json").stdout)
    assert found == {"recipe": "made", "models": [PLAN.to_dict()]}
    assert json.loads(run("run", toml, "--dry-run", "--json", "--own-functions").stdout)["models"] == []
    toml.write_text(made_recipe(title="").to_toml(), encoding="utf-8")
    assert run("run", toml, "--dry-run").stdout.splitlines()[0] == "made"


def with_units(folder: Path, n_notes: int = 1) -> None:
    outcomes = ["run", "run", "shared"]
    write_table(
        folder,
        "units",
        [
            {"model": "m", "arm": f"P{i}", "prompts": "held", "what": "answers", "outcome": o}
            for i, o in enumerate(outcomes)
        ],
    )
    write_table(
        folder, "notes", [{"model": "m", "about": "prompts held", "text": f"note {i:02}"} for i in range(n_notes)]
    )


def test_a_finished_run_is_printed_claim_by_claim(toml: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = toml.parent / "runs" / "made"
    asked: list[Any] = []

    def done(recipe: Any, out: Path, own_functions: bool) -> Finished:
        asked.append((recipe.name, str(out), own_functions))
        made_run(out, {"controls": {"usage": 9}})
        with_units(out, 13)
        return Finished(out, 7)

    monkeypatch.setattr(running, "run_recipe", done)
    said = run("run", toml)
    assert said.exit_code == 0, said.output
    assert asked == [("made", "runs/made", False)]
    assert columns(said.stdout.replace("\u00a0", " ")) == [
        ["some/model, held-out prompts: off, by experts"],
        ["experts", "which", "held (refusals)", "random draws", "slots changed"],
        ["without", "63.7 %"],
        ["1", "27.4 %", "64 to 66 %"],
        ["2", "27.4 %", "64 to 66 %", "2,468 of 8,642"],
        ["What else moved with off, first 2 by fTRI"],
        ["check", "without", "experts 2", "random draws"],
        ["sums (exactly right answers)", "91.3 %", "90.4 %"],
        ["claim", "effect", "95 % interval", "random draws", "verdict"],
        ["falls", "0.64 -> 0.27", "-0.48 to -0.24", "+0.00 to +0.02", "appears"],
        ["sums-stay", "0.91 -> 0.90", "-0.03 to +0.01", "- to -", "appears"],
        ["A score is association; the effects above were measured by running the model with and without the plan."],
        ["Report: runs/made/report.html"],
    ]
    head, first = [line for line in said.stdout.splitlines() if " effect " in line or "falls" in line]
    assert head.index("effect") + len("effect") == first.index("0.27") + len("0.27"), "numbers end together"
    assert said.stderr.splitlines()[1:] == [
        *(f"- prompts held: note {i:02}" for i in range(12)),
        "- and 1 more in runs/made/tables/notes.parquet",
    ]
    assert read_table(folder, "claims")["verdict"].tolist() == ["appears", "appears"]


def test_a_run_is_spread_over_a_cluster(toml: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def done(recipe: Any, out: Path, cluster: Cluster, own_functions: bool) -> Finished:
        asked.append((recipe.name, str(out), cluster, own_functions))
        with_units(made_run(out, {"controls": {"usage": 9}}))
        return Finished(out, 3)

    monkeypatch.setattr(spread, "run_spread", done)
    said = run("run", toml, "--ray", "head:6379", "--workers", 4, "--gpus-per-worker", 0.5, "--own-functions")
    assert said.exit_code == 0, said.output
    assert asked == [("made", "runs/made", Cluster("head:6379", 4, 0.5), True)]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--workers", 4), "belong to --ray ADDRESS"),
        (("--ray", "local", "--dry-run"), "--dry-run measures a small batch here"),
    ],
)
def test_what_says_nothing_of_a_cluster_is_refused(toml: Path, words: tuple[Any, ...], sentence: str) -> None:
    said = run("run", toml, *words)
    assert (said.exit_code, said.stdout) == (2, "")
    assert sentence in said.stderr
    assert not (toml.parent / "runs").exists()


@pytest.fixture
def finished(toml: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a run that is over, which nobody runs again."""
    folder = made_run(toml.parent / "runs" / "made", {"controls": {"usage": 9}})
    with_units(folder, 12)
    monkeypatch.setattr(running, "run_recipe", lambda *_, **__: Finished(folder, 0))
    return folder


def test_a_finished_run_as_json(toml: Path, finished: Path) -> None:
    assert "more in" not in run("run", toml, "--out", finished).stderr
    found = json.loads(run("run", toml, "--out", finished, "--json").stdout)
    assert {k: found[k] for k in ("run", "report", "units", "units_run_now")} == {
        "run": str(finished), "report": str(finished / "report.html"), "units": {"run": 2, "shared": 1}, "units_run_now": 0,
    }  # fmt: skip
    assert [(c["name"], c["n_draws"], c["random_low"]) for c in found["claims"]] == [
        ("falls", 9, 0.0),
        ("sums-stay", 0, None),
    ]
    assert found["notes"][11] == {"model": "m", "about": "prompts held", "text": "note 11"}


def test_a_run_without_effects_ends_with_1(toml: Path, finished: Path) -> None:
    write_table(finished, "effects", [])
    said = run("run", toml, "--out", finished)
    assert said.exit_code == 1
    assert said.stderr.splitlines()[-1] == "No plan of this recipe could be run on its models; the notes say why."


def test_a_recipe_without_claims_prints_none(toml: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = made_run(toml.parent / "run", {"claims": []})
    toml.write_text((folder / "recipe.toml").read_text("utf-8"), encoding="utf-8")
    monkeypatch.setattr(running, "run_recipe", lambda *_, **__: Finished(folder, 0))
    (folder / "plan.json").write_text(json.dumps({"prompts": _fingerprints(toml)}), encoding="utf-8")
    assert run("run", toml, "--out", folder).stdout.splitlines() == [f"Report: {folder / 'report.html'}"]


def _fingerprints(toml: Path) -> Any:
    from workbench_app.experiments.recipe import read_recipe

    return {name: {"fingerprint": s.fingerprint} for name, s in read_sets(read_recipe(toml)).items()}


@pytest.fixture(autouse=True)
def prompts_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A made run's plan.json knows nothing of prompts; the folder of a run that is there is not compared here."""
    from workbench_app.experiments.engine import folder

    checked = folder.check_same_run
    monkeypatch.setattr(folder, "check_same_run", lambda run, recipe, sets, plan: checked(run, recipe, {}, plan))


def test_a_report_is_written_again_where_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    a, b = made_run(tmp_path / "a"), made_run(tmp_path / "b")
    assert run("report", "a").stdout == "Report: a/report.html\n"
    assert json.loads(run("report", a, "--json").stdout) == {"report": str(a / "report.html")}
    said = run("report", a, "--out", tmp_path / "x.html")
    assert said.stdout == f"Report: {tmp_path / 'x.html'}\n"
    assert (tmp_path / "x.html").read_text("utf-8") == (a / "report.html").read_text("utf-8")
    assert run("report", a, b).stdout == "Report: comparison.html\n"
    assert "side by side" in (tmp_path / "comparison.html").read_text("utf-8")
    assert run("report", a, b, "--out", "both.html").stdout == "Report: both.html\n"
    assert not list((tmp_path).glob("*/comparison.html"))


def test_what_cannot_be_reported_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    a = made_run(tmp_path / "a")
    said = run("report", "a", a)
    assert (said.exit_code, said.stderr) == (
        2, "The run 'a' is named twice, and a run compared with itself says nothing; name it once.\n",
    )  # fmt: skip
    (a / "tables" / "units.parquet").unlink()
    said = run("report", "a")
    assert (said.exit_code, said.stderr) == (
        2, "The run 'a' is not finished; 'workbench run a/recipe.toml --out a' goes on.\n",
    )  # fmt: skip
    said = run("report", tmp_path)
    assert said.stderr == f"'{tmp_path}' is no run: it holds no recipe.toml; make one with 'workbench run'.\n"
    assert run("report", made_run(tmp_path / "c"), "--out", "nowhere/x.html").exit_code == 2
