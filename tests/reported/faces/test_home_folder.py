"""`~` is the home folder wherever a path is taken, in Python and on the command line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner
from workbench_app.cli import app
from workbench_app.dashboard.session import catalog_from
from workbench_app.experiments.engine import run_recipe_of
from workbench_app.experiments.recipe import read_recipe
from workbench_app.experiments.tables import read_table

from probes import usage
from probes.ranking import ExpertScores
from tests.support import families
from workbench import Plan, WorkbenchError, capture, load, open_store, parse_experts, read_prompts
from workbench.backends import store_served
from workbench.loading import tiny_model, tiny_tokenizer
from workbench.paths import given_path
from workbench.prompts import read_task

PROMPTS = '{"text": "hello", "labels": {"k": "a"}}\n{"text": "bye now", "labels": {"k": "b"}}\n'


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder with prompts and a plan; the working folder is another, and has to stay empty."""
    folder, here = tmp_path / "home", tmp_path / "here"
    folder.mkdir()
    here.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.chdir(here)
    (folder / "p.jsonl").write_text(PROMPTS)
    (folder / "plan.json").write_text('{"edits": [{"kind": "off", "expert": "L0E3"}]}')
    return folder


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Any:
    into = tmp_path_factory.mktemp("home") / "s"
    return capture(families.get("olmoe"), ["hello", "bye now"], into, progress=False)


@pytest.fixture(scope="module")
def scores(store: Any) -> ExpertScores:
    return usage(store, n_bootstrap=0)


def test_a_name_of_nobody_and_a_tilde_inside_stay(home: Path) -> None:
    assert given_path("~") == home
    assert given_path("~/a/../b") == home / "a" / ".." / "b"
    assert given_path(Path("~/a")) == home / "a"
    assert given_path("~no-such-user-here/a") == Path("~no-such-user-here/a")
    assert given_path("a/~/b") == Path("a/~/b")
    for wrong in (5, None, b"a", "a\0b"):
        with pytest.raises(WorkbenchError, match="is no path"):
            given_path(wrong)  # pyright: ignore[reportArgumentType]


WRITES: dict[str, tuple[str, Callable[[Any, ExpertScores], object]]] = {
    "Plan.to_json": ("x.json", lambda s, r: Plan.off(["L0E1"]).to_json("~/x.json")),
    "scores to_json": ("x.json", lambda s, r: r.to_json("~/x.json")),
    "scores to_csv": ("x.csv", lambda s, r: r.to_csv("~/x.csv")),
    "scores to_parquet": ("x.parquet", lambda s, r: r.to_parquet("~/x.parquet")),
    "export npz": ("x.npz", lambda s, r: s.export("~/x.npz")),
    "export safetensors": ("x.safetensors", lambda s, r: s.export(Path("~/x.safetensors"))),
    "capture": ("x/manifest.json", lambda s, r: capture(families.get("olmoe"), ["a"], "~/x", progress=False)),
    "store_served": ("x/manifest.json", lambda s, r: store_served(s.anatomy, [_served(s)], "~/x")),
}


def _served(store: Any) -> dict[str, Any]:
    k, layers = store.anatomy.layer(0).top_k, len(store.anatomy.layers)
    return {"prompt_ids": [5], "response_ids": [6], "routed_experts": np.tile(np.arange(k), (1, layers, 1))}


@pytest.mark.parametrize("how", WRITES)
def test_what_is_written_lies_under_home(how: str, home: Path, store: Any, scores: ExpertScores) -> None:
    name, write = WRITES[how]
    write(store, scores)
    assert (home / name).is_file()
    assert not list(Path.cwd().iterdir())


def test_what_is_read_is_found_under_home(home: Path, store: Any, scores: ExpertScores) -> None:
    assert [p.text for p in read_prompts("~/p.jsonl")] == ["hello", "bye now"]
    pd.DataFrame({"text": ["x"]}).to_parquet(home / "p.parquet")
    (home / "p.csv").write_text("text\ny\n")
    assert [p.text for name in ("p.parquet", "p.csv") for p in read_prompts(Path("~") / name)] == ["x", "y"]
    assert str(Plan.from_json("~/plan.json")) == "off L0E3"
    assert str(Plan.parse("mute @~/plan.json")) == "mute L0E3"
    assert list(map(str, parse_experts("@~/plan.json"))) == ["L0E3"]
    (home / "s").symlink_to(store.path)
    assert open_store("~/s").path == home / "s"
    for ending in ("json", "csv", "parquet"):
        getattr(scores, f"to_{ending}")(home / f"r.{ending}")
        assert getattr(ExpertScores, f"from_{ending}")(f"~/r.{ending}").fingerprint == scores.fingerprint
    found = capture(families.get("olmoe"), "~/p.jsonl", "~/t", progress=False)
    assert (found.path, found.n_prompts) == (home / "t", 2)


def test_tasks_and_their_data(home: Path) -> None:
    task = {"task": "t", "output_type": "generate_until", "doc_to_text": "{{q}}", "doc_to_target": "{{a}}"}
    data = {"dataset_path": "json", "dataset_kwargs": {"data_files": "~/data.json"}}
    (home / "task.yaml").write_text(json.dumps(task | data))
    (home / "data.json").write_text(json.dumps([{"q": "1 + 1?", "a": "2"}]))
    assert [p.text for p in read_task("~/task.yaml")] == ["1 + 1?"]


def test_models_and_tokenizers(home: Path) -> None:
    tiny_model("olmoe").save_pretrained(home / "m")
    tiny_tokenizer().save_pretrained(home / "m")
    found = load("~/m", device="cpu", check=False)
    assert found.anatomy.model == str(home / "m")
    assert found.tokenizer("a")["input_ids"] == tiny_tokenizer()("a")["input_ids"]
    for tokenizer in ("~/m", Path("~/m")):
        for source in ("tiny/olmoe", tiny_model("olmoe"), home / "m"):
            assert load(source, tokenizer, check=False).tokenizer.chat_template == tiny_tokenizer().chat_template


def test_recipes_and_runs(home: Path) -> None:
    recipe = Path("data/experiments/rice.toml")
    text = (Path(__file__).parents[3] / recipe).read_text().replace('"thinking"', '"~/p.jsonl"', 1)
    (home / "r.toml").write_text(text)
    assert read_recipe("~/r.toml").name == "rice"
    assert str(home / "p.jsonl") in {spec.source for spec in read_recipe("~/r.toml").prompts.values()}
    for read in (run_recipe_of, lambda run: read_table(run, "effects")):
        with pytest.raises(WorkbenchError, match=f"{home}|'~/nothing' is no run"):
            read("~/nothing")
    (home / "run").mkdir()
    (home / "run" / "recipe.toml").write_text(text)
    assert run_recipe_of("~/run").name == "rice"


def test_the_dashboard_shows_what_lies_there(home: Path, store: Any) -> None:
    (home / "s").symlink_to(store.path)
    (home / "stores").mkdir()
    (home / "stores" / "t").symlink_to(store.path)
    assert catalog_from(["--store", "~/s"]).given == {"s": home / "s"}
    assert catalog_from(["--project", "~"]).project == home


def said(*words: str, code: int = 0) -> str:
    found = CliRunner().invoke(app, list(words))
    assert found.exit_code == code, found.output + found.stderr
    return " ".join((found.stdout + found.stderr).split())


def test_every_option_of_the_command_line(home: Path) -> None:
    tiny_model("olmoe").save_pretrained(home / "m")
    tiny_tokenizer().save_pretrained(home / "m")
    said("inspect", "~/m")
    said("capture", "~/m", "~/p.jsonl", "--store", "~/s", "--plan", "~/plan.json")
    assert (home / "s" / "manifest.json").is_file()
    assert str(home / "s") in said("store", "info", "~/s")
    said("store", "check", "~/s")
    said("rank", "usage", "~/s", "--set", "n_bootstrap=0", "--top", "2", "--out", "~/top.json", "--scores", "~/all.csv")
    assert len(Plan.from_json(home / "top.json")) == 2
    assert len(ExpertScores.from_csv(home / "all.csv").frame) == 48
    assert "--out and --scores both name" in said(
        "rank", "usage", "~/s", "--out", "~/x.json", "--scores", str(home / "x.json"), code=2
    )
    few = ("--tokens", "1")
    assert "L0E3" in said("steer", "~/m", "--prompt", "x", "--plan", "~/plan.json", "--json", *few)
    assert "L0E3" in said("steer", "~/m", "--prompt", "x", "--force", "@~/plan.json", "--json", *few)
    same = ("--store", "~/s", "--out", "~/found.json", "--metric", "length", "--controls", "0")
    said("compare", "~/m", "~/p.jsonl", "--plan", "~/plan.json", *same, *few)
    assert json.loads((home / "found.json").read_text())["plan"]["edits"][0]["expert"] == "L0E3"
    assert not list(Path.cwd().iterdir())


def test_folders_of_runs_on_the_command_line(home: Path) -> None:
    for name in ("a", "b"):
        (home / name).mkdir()
        (home / name / "other.txt").write_text("x")
    assert f"{home / 'a'}' holds other files" in said("run", "rice", "--out", "~/a", "--dry-run", code=2)
    assert f"{home / 'a'}' is no run" in said("report", "~/a", "~/b", code=2)
    assert f"{home / 'a'}' is named twice" in said("report", "~/a", str(home / "a"), code=2)
    assert "There is no recipe '~/no.toml'" in said("run", "~/no.toml", code=2)

    (home / "d").mkdir()
    (home / "d" / "other.txt").write_text("x")
    assert f"{home / 'd'}' holds other files" in said("demo", "--out", "~/d", code=2)
    assert "not a store" in said("app", "--store", "~/a", code=2)
    assert not list(Path.cwd().iterdir())
