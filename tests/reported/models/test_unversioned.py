"""What commit a01768e made still opens, resumes and steers, by the rule of its time and with a note of what was not compared."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner
from workbench_app.cli import app
from workbench_app.experiments.recipe import recipe_from
from workbench_app.experiments.run import run_recipe
from workbench_app.experiments.tables import TABLES, read_tables

from probes import usage
from probes.ranking import ExpertScores
from tests.fixtures.a01768e import OPTIONS, PLAN, PROMPTS, RECIPE
from tests.support import families
from workbench import Plan, Store, WorkbenchError, capture, compare, load, open_store, steered
from workbench.anatomy import ExpertRef
from workbench.errors import NotCompared
from workbench.storage import sha256

ZIP = Path(__file__).parents[2] / "fixtures" / "a01768e.zip"
DEMO = "c0c4182ca093d7b5"  # of the bundled model, as that commit told it
KEY = ["prompt_id", "sample", "position", "layer", "slot"]
STEERED = pytest.mark.parametrize("name", ["store", "steered"])


@contextmanager
def noted() -> Iterator[None]:
    """Inside, something is allowed, with the note; that it is refused is a failure, not an error."""
    with pytest.warns(NotCompared, match="renormalised and scaled, groups of experts, correction biases and active"):  # noqa: PT031
        try:
            yield
        except WorkbenchError as error:
            pytest.fail(f"refused: {error}")


@cache
def _unpacked() -> TemporaryDirectory[str]:
    folder = TemporaryDirectory()
    shutil.unpack_archive(ZIP, folder.name)
    return folder


def made() -> Path:
    """What the commit left; nobody writes there."""
    return Path(_unpacked().name)


def taken(folder: str, tmp_path: Path) -> Path:
    """A copy to work on."""
    return Path(shutil.copytree(made() / folder, tmp_path / folder))


def plan_of(name: str) -> Plan | None:
    return Plan.parse(PLAN) if name == "steered" else None


def again(path: Path, name: str, model: Any = None, **other: Any) -> Store:
    how = {"plan": plan_of(name), **OPTIONS, **other}
    return capture(model or families.get("demo"), PROMPTS, path, progress=False, **how)


def other_demo() -> Any:
    """The bundled model with other weights."""
    model = load("demo", device="cpu", check=False)
    with torch.no_grad():
        model.hf.lm_head.weight.mul_(1.25)
    return load(model.hf, model.tokenizer, check=False)


def test_the_fixtures_are_of_before() -> None:
    assert json.loads((made() / "plan.json").read_text())["fingerprint"] == DEMO
    assert families.get("demo").anatomy.unversioned == DEMO != families.get("demo").anatomy.fingerprint
    assert families.get("demo").anatomy.is_same(DEMO)
    assert not families.get("olmoe").anatomy.is_same(DEMO)


# ---- stores


@STEERED
def test_a_finished_store_opens_and_is_this_models(name: str, tmp_path: Path) -> None:
    path = taken(name, tmp_path)
    store, whole = open_store(path), {f: sha256(f) for f in path.rglob("*.*") if f.is_file()}
    assert store.check() == []
    assert store.anatomy.fingerprint == DEMO
    assert store.steering == (None if name == "store" else Plan.parse(PLAN).for_model(store.anatomy))
    with noted():
        assert again(path, name).path == path
    assert {f: sha256(f) for f in whole} == whole
    said = CliRunner().invoke(app, ["store", "info", str(path)])
    assert said.exit_code == 0
    assert "Made before fingerprints had a version" in said.stderr


@STEERED
def test_a_half_finished_capture_is_gone_on_with(name: str, tmp_path: Path) -> None:
    path = taken(f"half_{name}", tmp_path)
    before = {f: sha256(f) for f in path.rglob("*.parquet")}
    assert len(before) >= 6
    with noted():
        store = again(path, name)
    assert {f: sha256(f) for f in before} == before, "what was done is not done again"
    whole = open_store(made() / name)
    assert store.check() == []
    notes = [w for w in store.info()["warnings"] if "begun by an earlier version" in w]
    assert len(notes) == 1, "whoever opens it later reads what was not compared"
    assert "active adapters were not compared" in notes[0]
    assert store.anatomy == whole.anatomy
    assert (store.manifest["fingerprint"], store.manifest["steering"]) == (DEMO, whole.manifest["steering"])
    mine, theirs = (
        x.table("slots").astype({"prompt_id": str}).sort_values(KEY, ignore_index=True) for x in (store, whole)
    )
    pd.testing.assert_frame_equal(mine[KEY], theirs[KEY])
    assert (mine.expert == theirs.expert).mean() > 0.95, "ties may fall otherwise on another processor"
    assert mine.weight.to_numpy() == pytest.approx(theirs.weight.to_numpy(), abs=1e-3)
    pd.testing.assert_frame_equal(store.tokens.drop(columns="logprob"), whole.tokens.drop(columns="logprob"))


@pytest.mark.parametrize("name", ["half_store", "half_steered", "store"])
def test_another_model_or_plan_does_not_go_on_with_it(name: str, tmp_path: Path) -> None:
    path, plan = taken(name, tmp_path), plan_of(name.removeprefix("half_"))
    files = sorted(path.rglob("*"))
    with pytest.raises(WorkbenchError, match=f"another model \\({DEMO} there, [0-9a-f]{{16}} here"):
        again(path, "", other_demo(), plan=plan)
    with pytest.raises(WorkbenchError, match="another steering plan"):
        again(path, "", plan=Plan.parse("off L0E1"))
    assert sorted(path.rglob("*")) == files


# ---- plans and scores


def experts_received(model: Any, layer: int) -> set[int]:
    seen: list[torch.Tensor] = []
    experts = model.hf.get_submodule(model.anatomy.layer(layer).experts)
    handle = experts.register_forward_pre_hook(lambda _, args: seen.append(args[1]))
    with torch.no_grad():
        model.hf(families.ids(model, batch=4, length=32), use_cache=False)
    handle.remove()
    return set(seen[0].flatten().tolist())


def test_a_plan_steers() -> None:
    model, plan = families.get("demo"), Plan.from_json(made() / "plan.json")
    off = {ref.expert for ref in plan.experts}
    assert plan.experts == (ExpertRef(3, 1), ExpertRef(3, 12))
    assert off <= experts_received(model, 3)
    with noted(), steered(model, plan) as inside:
        assert inside == Plan.off("L3E1,L3E12").for_model(model.anatomy)
        assert not off & experts_received(model, 3)
    with steered(model, Plan.off("L3E0")), noted(), steered(model, plan) as inside:  # within one of now
        assert not {0, 1, 12} & experts_received(model, 3)
        assert inside.fingerprint == model.anatomy.fingerprint


def test_scores_choose_experts() -> None:
    scores = ExpertScores.from_json(made() / "scores.json")
    plan = Plan.off(scores.top(2))
    assert plan == Plan.from_json(made() / "plan.json")
    assert plan.fingerprint == scores.fingerprint == DEMO
    now = usage(open_store(made() / "store"), n_bootstrap=0).frame
    columns = ["layer", "expert", "score", "n"]
    pd.testing.assert_frame_equal(now[columns], scores.frame[columns])
    model = families.get("demo")
    with noted():
        found = compare(
            model, PROMPTS[:2], plan, metrics={"n": lambda r: len(r)}, controls=0, max_new_tokens=2,
            store=open_store(made() / "store"), progress=False,
        )  # fmt: skip
    assert found.plan.fingerprint == model.anatomy.fingerprint


def test_another_models_plan_is_refused() -> None:
    plan = Plan.from_json(made() / "plan.json")
    for model in (other_demo(), families.get("olmoe")):
        with pytest.raises(WorkbenchError, match=f"made on another model \\(fingerprint {DEMO}"), steered(model, plan):
            raise AssertionError("entered")


def test_plans_of_both_times_are_joined_and_both_are_compared() -> None:
    model, old = families.get("demo"), Plan.from_json(made() / "plan.json")
    for new in (Plan.off("L0E1").for_model(model.anatomy), Plan.mute("L2E7").for_model(model.anatomy)):
        for both in (old | new, new | old, (old | new) | new, Plan.from_json((new | old).to_json())):
            assert set(both.edits) == {*old.edits, *new.edits}
            with noted():
                assert both.for_model(model.anatomy).fingerprint == model.anatomy.fingerprint
            with pytest.raises(WorkbenchError, match="another model"):
                both.check(families.get("olmoe").anatomy)
    half = old | Plan.off("L0E1").for_model(other_demo().anatomy)
    with pytest.raises(WorkbenchError, match="another model"):  # one of the two is this one's
        half.for_model(model.anatomy)
    with pytest.raises(WorkbenchError, match="two models"):
        old | Plan.off("L0E1").for_model(families.get("olmoe").anatomy) | Plan.off("L0E2").for_model(model.anatomy)


@pytest.mark.slow
def test_the_command_line_says_it_in_a_line() -> None:
    words = ["steer", "demo", "--prompt", "hello", "--plan", str(made() / "plan.json"), "--tokens", "2"]
    said = CliRunner().invoke(app, words)
    assert said.exit_code in (0, 1), said.output
    assert "This plan is taken for this model's, but its fingerprint is of before they had a version" in said.stderr
    assert "NotCompared" not in said.stderr


# ---- runs


def test_a_finished_run_is_finished(tmp_path: Path) -> None:
    path = taken("run", tmp_path)
    assert run_recipe(recipe_from(RECIPE), path, progress=False).units_run == 0
    assert read_tables(path).keys() >= {"effects", "arms"}


def test_a_half_finished_run_is_gone_on_with(tmp_path: Path) -> None:
    path = taken("half_run", tmp_path)
    done = {f: sha256(f) for f in (*path.rglob("units/*"), *path.rglob("stores/**/*.parquet"))}
    units = {f.name for f in (made() / "run" / "units").iterdir()}
    assert 4 <= len({f.name for f in done} & units) < len(units)
    with noted():
        finished = run_recipe(recipe_from(RECIPE), path, progress=False, open_model=lambda _: families.get("demo"))
    assert finished.units_run == len(units) - len({f.name for f in done} & units)
    assert {f: sha256(f) for f in done} == done
    assert {f.name for f in (path / "units").iterdir()} == units
    whole, mine = read_tables(made() / "run"), read_tables(path)
    assert mine.keys() == whole.keys() | {"residuals"}  # a table that there was not then
    for name in sorted(set(TABLES) & whole.keys()):
        assert len(pd.DataFrame(mine[name])) == len(pd.DataFrame(whole[name])), name
    a, b = (pd.DataFrame(x["effects"]) for x in (mine, whole))
    assert a[["arm", "prompts", "metric", "n"]].equals(b[["arm", "prompts", "metric", "n"]])
    assert np.isfinite(a["base"].to_numpy(float)).all()
    with pytest.raises(WorkbenchError, match=f"another model under the name 'demo' \\(fingerprint {DEMO}"):
        run_recipe(recipe_from(RECIPE), taken("half_run", tmp_path / "2"), False, open_model=lambda _: other_demo())
