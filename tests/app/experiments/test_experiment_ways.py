"""One recipe with what the small one lacks, by the command line: two models, parts, means, a task file, a judge."""

import json
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from typer.testing import CliRunner
from workbench_app.cli import app
from workbench_app.experiments.tables import read_tables

from tests.support.recipes import OPTIONS, recipe_data, write_prompts
from tests.workbench.prompts.test_lm_eval import ROWS, TASK
from workbench import Plan, load, open_store

pytestmark = pytest.mark.slow
MODELS = ("tiny/olmoe", "tiny/qwen3_moe")


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """A judge that finds every answer whose length is even."""

    class Judge(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            said = body["messages"][0]["content"].partition("ANSWER:")[2]
            verdict = {"choices": [{"message": {"content": "yes" if len(said) % 2 == 0 else "no"}}]}
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(verdict).encode())

        def log_message(self, *_: Any) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Judge)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, endpoint: str) -> Path:
    """The finished run in `run`, made by the command line."""
    path = tmp_path_factory.mktemp("ways")
    write_prompts(path)
    (path / "flags.jsonl").write_text("\n".join(map(json.dumps, ROWS)), encoding="utf-8")
    (path / "flags.yaml").write_text(TASK, encoding="utf-8")
    held = {"source": "held.jsonl", "role": "target", "metrics": ["length", "judge"], "max_new_tokens": 3, "limit": 6}
    task = {"source": "flags.yaml", "role": "capability", "metrics": ["choice_margin"]}
    parts = [{"end": "top", "edit": "force", "n": 1}, {"end": "bottom", "edit": "off"}]
    data = recipe_data(
        models=[*MODELS],
        prompts={"ranked": recipe_data()["prompts"]["ranked"], "held": held, "task": task},
        capture={"keep": ["norms", "residual", "outputs"], "generate": 2},
        rankings=[{"name": "cats", "method": "contrast", "prompts": "ranked", "options": _contrast()}],
        plans=[
            {"ranking": "cats", "n": [1, 2], "name": "both ends", "parts": parts},
            {"ranking": "cats", "n": 1, "edit": "replace", "value": "mean"},
            {"ranking": "cats", "n": 1, "edit": ["scale", "off"], "value": [8, 0.5], "phase": ["all", "generated"]},
        ],
        controls={"count": 2, "layer": 1, "usage": 0, "capability_draws": 1, "super_experts": "exclude"},
        measure={"distributions": False},
        judge={"address": endpoint, "model": "even", "question": "ANSWER:{response}"},
        claims=[
            {"name": "longer", "text": "Answers grow", "prompts": "held", "metric": "length", "direction": "up"}
            | {"plan": "both ends", "n": 3},
        ],
    )
    (path / "ways.toml").write_text(tomli_w.dumps(data), encoding="utf-8")
    said = CliRunner().invoke(app, ["run", str(path / "ways.toml"), "--out", str(path / "run"), "--json"])
    assert said.exit_code == 0, said.output
    (path / "said.json").write_text(said.stdout, encoding="utf-8")
    return path


def _contrast() -> dict[str, Any]:
    kept = {k: v for k, v in OPTIONS.items() if k.startswith("n_")}
    return {"target": "kind=cat", "baseline": "kind=dog"} | kept


@pytest.fixture(scope="module")
def tables(folder: Path) -> dict[str, Any]:
    return read_tables(folder / "run")


def test_models_are_crossed_with_the_same_arms(tables):
    arms = tables["arms"]
    one, other = (list(arms[arms["model"] == m]["arm"]) for m in MODELS)
    assert one == other
    assert set(tables["effects"]["model"]) == set(MODELS)
    by_model = arms[arms["kind"] == "plan"].groupby("model")["plan"].agg(set)
    assert by_model[MODELS[0]] != by_model[MODELS[1]]


def test_what_the_command_says_is_what_the_tables_hold(folder, tables):
    said = json.loads((folder / "said.json").read_text())
    assert Path(said["report"]).is_file()
    assert [c["name"] for c in said["claims"]] == ["longer", "longer"]
    assert sum(said["units"].values()) == len(tables["units"])
    assert {c["verdict"] for c in said["claims"]} <= {"appears", "does not appear", "undecided"}
    assert len(said["notes"]) == len(tables["notes"])


def test_parts_join_both_ends(tables):
    row = tables["arms"].query("model == 'tiny/olmoe' and arm == 'P02'").iloc[0]
    assert (row["name"], row["end"], row["edit"], row["n"]) == ("both ends", "top+bottom", "force+off", 3)
    kinds = [edit.kind for edit in Plan.parse(row["plan"]).edits]
    assert sorted(kinds) == ["force", "off", "off"]
    scores = tables["scores"].query("model == 'tiny/olmoe'").sort_values("score")
    names = [f"L{r.layer}E{r.expert}" for r in scores.itertuples()]
    assert set(row["experts"]) == {names[-1], names[0], names[1]}
    bottom = tables["arms"].query("model == 'tiny/olmoe' and arm == 'P02.bottom'").iloc[0]
    assert [str(e.expert) for e in Plan.parse(bottom["plan"]).edits if e.kind == "force"] == [names[0]]


def test_replace_takes_each_experts_own_mean(folder, tables):
    """Also a control's: its expert is replaced by its own mean, not by the plan's expert's."""
    arms = tables["arms"].query("model == 'tiny/olmoe'").set_index("arm")
    assert arms.loc["P03", "plan"].startswith("replace ")
    assert arms.loc["P03", "plan"].endswith("=mean")
    model, store = load("tiny/olmoe", check=False), open_store(folder / "run" / "stores" / "00-00")
    from workbench_app.experiments.recipe import read_recipe, read_sets

    from workbench.answering import answer, encode_all

    held = read_sets(read_recipe(folder / "run" / "recipe.toml"))["held"]
    encoded = encode_all(model, held, 3)
    for arm in ("P03", "P03.layer.0"):
        plan = Plan.parse(arms.loc[arm, "plan"]).with_means(store)
        found = answer(model, encoded, plan, 3, 4096)
        ours = tables["answers"].query("model == 'tiny/olmoe' and arm == @arm and prompts == 'held'")
        assert ours.set_index("prompt_id")["answer"].to_dict() == dict(
            zip((p.id for p in held), found.texts, strict=True)
        )
        dose = tables["doses"].query("model == 'tiny/olmoe' and arm == @arm").iloc[0]
        assert dose["slots_changed"] == found.dose.slots_changed


def test_strengths_and_phases_are_crossed(tables):
    arms = tables["arms"].query("model == 'tiny/olmoe' and kind == 'plan'")
    assert len(arms) == 2 + 1 + (2 + 1) * 2
    assert set(zip(arms["edit"], arms["value"].fillna("-"), arms["phase"], strict=True)) == {
        ("force+off", "-", "all"),
        ("replace", "mean", "all"),
        *((e, v, p) for e, v in (("scale", "8"), ("scale", "0.5"), ("off", "-")) for p in ("all", "generated")),
    }
    assert all("in generated" in row.plan for row in arms.itertuples() if row.phase == "generated")


def test_the_judge_and_the_task_file_were_asked(tables):
    values = tables["values"]
    judged = values[values["metric"] == "judge"].set_index(["model", "arm", "prompt_id"])["value"]
    answers = tables["answers"].set_index(["model", "arm", "prompt_id"])["answer"]
    assert len(judged) == len(answers) > 0
    assert all(judged[key] == float(len(text) % 2 == 0) for key, text in answers.items())
    margins = values[values["metric"] == "choice_margin"]
    assert set(margins["prompt_id"]) == {"flags-0", "flags-1"}
    assert not set(tables["answers"]["prompts"]) & {"task"}  # nothing was generated there


def test_one_report_again_and_two_runs_side_by_side(folder):
    run = folder / "run"
    before = (run / "report.html").read_text(encoding="utf-8")
    assert CliRunner().invoke(app, ["report", str(run)]).exit_code == 0
    assert (run / "report.html").read_text(encoding="utf-8") == before
    twice = CliRunner().invoke(app, ["report", str(run), str(run / ".." / run.name)])
    assert (twice.exit_code, "is named twice" in twice.output) == (2, True)
    shutil.copytree(run, folder / "again")
    said = CliRunner().invoke(
        app, ["report", str(run), str(folder / "again"), "--out", str(folder / "both.html"), "--json"]
    )
    assert said.exit_code == 0, said.output
    assert json.loads(said.stdout) == {"report": str(folder / "both.html")}
    assert "Answers grow" in (folder / "both.html").read_text(encoding="utf-8")
