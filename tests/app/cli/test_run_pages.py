"""`workbench run` and `workbench report` over made-up runs: whole pages, whole refusals, and what is compared with what."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner
from workbench_app.cli import app
from workbench_app.experiments import run as running
from workbench_app.experiments.engine import (
    ModelPlan,
    begin,
    begun,
    check_decoding,
    check_model,
    is_finished,
    run_recipe_of,
)
from workbench_app.experiments.recipe import Claim, read_sets
from workbench_app.experiments.report.comparison import Opened, _apart, _differing, _shown, claim_lines, effect_lines
from workbench_app.experiments.report.report import opened
from workbench_app.experiments.run import Finished, checked_sets
from workbench_app.experiments.tables import claims_table, read_table, read_tables, write_table
from workbench_app.experiments.tables.claims import Effect, verdict
from workbench_app.terminal import printing as terminal

from tests.app.experiments.runs import MATCHES, made_recipe, made_run
from tests.support.recipes import make_recipe, recipe_data, write_prompts
from tests.support.stores import anatomy
from workbench import WorkbenchError

NAN = math.nan


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A terminal of 160 columns."""
    monkeypatch.setenv("COLUMNS", "160")
    terminal.console.cache_clear()
    yield
    terminal.console.cache_clear()


def run(*words: object) -> Any:
    return CliRunner().invoke(app, [str(word) for word in words])


def columns(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.strip() and set(line.strip()) != {"─"}]
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in lines]


def refusal(make: Any) -> str:
    with pytest.raises(WorkbenchError) as error:
        make()
    return str(error.value)


PLAN = ModelPlan(
    "some/model", "f00d", "bfloat16", "cpu", "2 routed experts", {"base": 1, "plan": 2, "random": 1200},
    {"answers": 1000, "sinks": 3}, 12_345, 67_890, 1_110, 2_500_000, 40_560, 1234.5, 98_765.4, 3725.0,
)  # fmt: skip


# ---- run


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
    with_units(folder, 12)
    monkeypatch.setattr(running, "run_recipe", lambda *_, **__: Finished(folder, 0))
    assert "more in" not in run("run", toml, "--out", folder).stderr
    found = json.loads(run("run", toml, "--out", folder, "--json").stdout)
    assert {k: found[k] for k in ("run", "report", "units", "units_run_now")} == {
        "run": str(folder), "report": str(folder / "report.html"), "units": {"run": 2, "shared": 1}, "units_run_now": 0,
    }  # fmt: skip
    assert [(c["name"], c["n_draws"], c["random_low"]) for c in found["claims"]] == [
        ("falls", 9, 0.0),
        ("sums-stay", 0, None),
    ]
    assert found["notes"][11] == {"model": "m", "about": "prompts held", "text": "note 11"}
    write_table(folder, "effects", [])
    said = run("run", toml, "--out", folder)
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

    checked = folder._check_same
    monkeypatch.setattr(folder, "_check_same", lambda run, recipe, sets, plan: checked(run, recipe, {}, plan))


# ---- report


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
        2, "The run 'a' is not finished; `workbench run a/recipe.toml --out a` goes on.\n",
    )  # fmt: skip
    said = run("report", tmp_path)
    assert said.stderr == f"'{tmp_path}' is no run: it holds no recipe.toml; make one with `workbench run`.\n"
    assert run("report", made_run(tmp_path / "c"), "--out", "nowhere/x.html").exit_code == 2


# ---- a run's folder


def test_a_folder_is_begun_or_empty_or_refused(tmp_path: Path) -> None:
    recipe = make_recipe(tmp_path / "prompts")
    sets = read_sets(recipe)
    folder = tmp_path / "run"
    assert begun(folder, recipe, sets) is None
    assert not is_finished(folder)
    folder.mkdir()
    assert begun(folder, recipe, sets) is None
    plan = begin(folder, recipe, sets, [PLAN], "2026-01-02")
    assert begun(folder, recipe, sets) == plan == json.loads((folder / "plan.json").read_text("utf-8"))
    assert set(plan["versions"]) == {"workbench", "torch", "transformers", "numpy", "pyarrow"}
    assert {k: plan[k] for k in ("recipe", "models", "template_date")} == {
        "recipe": "small", "models": [PLAN.to_dict()], "template_date": "2026-01-02",
    }  # fmt: skip
    assert plan["prompts"]["held"] == {"source": sets["held"].source, "n": 12, "fingerprint": sets["held"].fingerprint}
    assert run_recipe_of(folder) == recipe
    (folder / "plan.json").unlink()
    assert begun(folder, recipe, sets) is None  # killed between the two files
    (folder / "zz").touch(), (folder / "other.txt").touch()
    assert refusal(lambda: begun(folder, recipe, sets)) == (
        f"The folder '{folder}' holds other files ('other.txt'); choose a folder that does not exist or is empty."
    )
    assert (
        refusal(lambda: begun(folder / "zz", recipe, sets))
        == f"'{folder / 'zz'}' is a file; name a folder for the run."
    )


@pytest.mark.parametrize(
    ("changes", "differ"),
    [
        ({"seed": 3}, "seed (0 there, 3 here)"),
        ({"title": "x" * 40}, f"title ( there, {'x' * 40} here)"),
        ({"title": "x" * 41}, f"title ( there, {'x' * 37}... here)"),
        ({"paper": {"title": "T"}}, "paper (nothing there, {'title': 'T'} here)"),
        ({"models": ["demo"]}, "models[0].source (tiny/olmoe there, demo here)"),
        ({"models": ["demo", "tiny/olmoe"]}, None),
        ({"seed": 1, "batch_tokens": 9, "title": "t"},
         "title ( there, t here), seed (0 there, 1 here), batch_tokens (4096 there, 9 here)"),
        ({"seed": 1, "batch_tokens": 9, "title": "t", "question": "q"},
         "title ( there, t here), question ( there, q here), seed (0 there, 1 here) and 1 more"),
    ],
)  # fmt: skip
def test_another_recipe_is_refused_with_what_differs(tmp_path: Path, changes: Any, differ: str | None) -> None:
    recipe = make_recipe(tmp_path / "prompts")
    sets = read_sets(recipe)
    begin(tmp_path / "run", recipe, sets, [], "d")
    said = refusal(lambda: begun(tmp_path / "run", make_recipe(tmp_path / "prompts", **changes), sets))
    end = "differ; nothing was changed: take the same recipe, or choose another folder with --out."
    if differ is not None:
        assert said == f"The run '{tmp_path / 'run'}' was begun with another recipe: {differ} {end}"
    else:  # a list of another length is told as a whole
        assert (
            "another recipe: models ([{'source': 'tiny/olmoe', 'dtype': 'a... there, [{'source': 'demo', 'dtype': 'auto', ... "
            in said
        )


def test_another_model_or_generation_config_is_refused(tmp_path: Path) -> None:
    shape, other = anatomy(), anatomy(weights="other")
    plan = {
        "models": [{}, {"model": "m", "fingerprint": shape.fingerprint, "dtype": "float32", "decoding": {"stop": [1]}}]
    }
    check_model(tmp_path, plan, 1, shape, "float32")
    for found, dtype in ((other, "float32"), (shape, "bfloat16")):
        assert refusal(lambda f=found, d=dtype: check_model(tmp_path, plan, 1, f, d)) == (
            f"The run '{tmp_path}' was begun with another model under the name 'm' (fingerprint {shape.fingerprint}, float32 "
            f"there; {found.fingerprint}, {dtype} here); choose another folder with --out."
        )
    check_decoding(tmp_path, plan, 1, {"stop": [1]})
    check_decoding(tmp_path, plan, 0, {"stop": [1]})  # an earlier version recorded none
    assert refusal(lambda: check_decoding(tmp_path, plan, 1, {"stop": [2]})) == (
        f"The run '{tmp_path}' was begun with another generation config ({{'stop': [1]}} there, {{'stop': [2]}} here), so its "
        "answers would not be comparable; set it back, or choose another folder with --out."
    )


def test_functions_of_ones_own_are_named_before_they_are_run(tmp_path: Path) -> None:
    write_prompts(tmp_path)
    data = recipe_data()
    data["prompts"]["other"]["metrics"] = ["ast:parse", "length"]
    from workbench_app.experiments.recipe import recipe_from

    recipe = recipe_from(data, folder=tmp_path)
    assert refusal(lambda: checked_sets(recipe)) == (
        "The recipe runs code of its own, ast:parse, tests.support.recipes:vowels; "
        "add --own-functions to run it if you trust it."
    )
    assert {name: len(s) for name, s in checked_sets(recipe, True).items()} == {
        "ranked": 8,
        "held": 12,
        "other": 5,
        "given": 4,
    }
    data["prompts"]["other"]["metrics"] = ["ast:nosuch"]
    assert refusal(lambda: checked_sets(recipe_from(data, folder=tmp_path), True)) == (
        "The metric 'ast:nosuch' cannot be imported (module 'ast' has no attribute 'nosuch'); name a function of an installed "
        "module as module:function."
    )


# ---- claims: their reasons in words


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


# ---- runs side by side


def side(folder: Path, name: str, **effect: float) -> Opened:
    recipe, tables, _ = opened(made_run(folder / name, **effect))
    return Opened(name, "some/model", recipe, tables)


def test_lines_hold_a_cell_for_every_run(tmp_path: Path) -> None:
    a, b = side(tmp_path, "a"), side(tmp_path, "b", steered=0.6, difference=-0.037, low=-0.081, high=0.012)
    b.tables["effects"] = b.tables["effects"].query("arm != 'P01'")
    b.tables["claims"] = b.tables["claims"].query("name == 'falls'")
    falls, stays = claim_lines([a, b])
    assert falls.label == "Refusals fall"
    assert falls.sides == (("appears", "−36.3", "[−48.1, −24.2]", ""), ("does not appear", "−3.7", "[−8.1, +1.2]", ""))
    assert falls.apart == "intervals 16.1\u00a0points apart"
    assert (stays.sides[1], stays.apart) == (None, "")
    lines = {line.label: line for line in effect_lines([a, b])}
    assert list(lines) == [
        "off, the other end's 1 by fTRI; held: refusals", "off, first 2 by fTRI; held: refusals",
        "off, first 2 by fTRI; sums: exactly right answers", "off, the other end's 2 by fTRI; held: refusals",
    ]  # fmt: skip
    plan = lines["off, first 2 by fTRI; held: refusals"]
    assert plan.sides[0] == ("63.7 to 27.4\u00a0%", "−36.3", "[−48.1, −24.2]", "off L1E0; off L1E1")
    assert plan.sides[1] == ("63.7 to 60\u00a0%", "−3.7", "[−8.1, +1.2]", "off L1E0; off L1E1")
    assert lines["off, the other end's 2 by fTRI; held: refusals"].apart == ""


def test_intervals_that_touch_are_not_apart() -> None:
    rows = [
        {"metric": "refused", "low": low, "high": high}
        for low, high in ((0.0, 0.1), (0.1, 0.2), (0.15, 0.3), (NAN, NAN))
    ]
    assert _apart(rows[:2]) == ""
    assert _apart([rows[0], rows[2], None, rows[3]]) == "intervals 5\u00a0points apart"
    assert _apart([None, rows[3]]) == ""


def test_what_differs_between_recipes_is_text() -> None:
    a, b = made_recipe(), made_recipe(seed=1, title="", claims=[], references=[])
    assert _differing([a, b]) == [("title", ("A made-up run", "–")), ("seed", ("0", "1"))]
    assert _differing([a, a]) == []
    assert [_shown(v) for v in (None, "", [], {}, 0)] == ["–", "–", "–", "–", "0"]
    assert _shown("x" * 300) == "x" * 300
    assert _shown("x" * 301) == "x" * 299 + "…"
