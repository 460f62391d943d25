"""The page Captures and runs, driven without a browser: starting, watching, stopping and resuming; stores and runs."""

import json
import shutil
import threading
import time
from pathlib import Path

import pandas as pd
import pytest
from workbench_app.dashboard.captures.jobs import Job, Jobs, Wanted, jobs
from workbench_app.dashboard.captures.prompt_sources import uploaded
from workbench_app.dashboard.captures.unfinished import keep_prompts, to_resume, unfinished
from workbench_app.dashboard.session import Machine, catalog_from
from workbench_app.dashboard.session.machines import machine

from tests.app.pages import HOSTILE, hostile_store, opened, says, texts
from tests.support.stores import assert_same_content
from workbench import Plan, WorkbenchError, capture, load, open_store, read_prompts, steered
from workbench.bundled import bundled_path
from workbench.capturing import Options

pytestmark = pytest.mark.slow  # every test draws pages

SMALL = {"keep": ("norms", "residual"), "generate": 8, "batch_tokens": 256, "shard_tokens": 256}


@pytest.fixture(autouse=True)
def _no_jobs():
    yield
    for job in jobs().all():
        job.stopping.set()
        wait(lambda job=job: not job.is_active)
        jobs().forget(job)


def wait(until, seconds=60.0):
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.005)


@pytest.fixture(scope="module")
def model():
    return load("demo")


@pytest.fixture
def prompts():
    return read_prompts("code_prose").filter(split="heldout")


def begun(path, model, prompts, **more):
    """A job at work."""
    job = Job("stores/a", path, "", Machine(model), Wanted(prompts, more.pop("plan", Plan()), Options(**SMALL | more)))
    Jobs().start(job)
    return job


def stopped(path, model, prompts, **more):
    job = begun(path, model, prompts, **more)
    wait(lambda: job.progress is not None and job.progress.done > 300)
    job.stopping.set()
    wait(lambda: not job.is_active)
    assert job.state == "stopped"
    return job


def test_a_capture_from_the_page_is_the_one_that_the_library_makes(tmp_path, model):
    page = opened("captures", tmp_path)
    page.selectbox(key="capture-prompts").set_value("faithfulness").run()
    page.number_input(key="capture-generate").set_value(2).run()
    assert says(page, "prompts, about ")
    page.button(key="capture-start").click().run()
    wait(lambda: not any(job.is_active for job in jobs().all()))
    assert says(page.run(), "stores/faithfulness: ")
    made = open_store(tmp_path / "stores" / "faithfulness")
    batches = {name: made.plan_json["options"][name] for name in ("batch_tokens", "shard_tokens")}
    own = capture(model, "faithfulness", tmp_path / "own", generate=2, progress=False, **batches)
    assert_same_content(made, own)
    table = page.dataframe[0].value.set_index("name")
    assert table.loc["stores/faithfulness", "state"] == "complete"
    page.selectbox(key="stores-one").set_value("stores/faithfulness").run()
    page.button(key="stores-open").click().run()
    assert page.session_state["view"]["store"] == "stores/faithfulness"
    assert says(page, "This store is open; every page shows it.")


def test_stop_is_prompt_and_resume_ends_with_what_an_unbroken_capture_holds(tmp_path, model, prompts):
    plan = Plan.off("L2E8").for_model(model.anatomy)
    catalog = catalog_from([f"--project={tmp_path}"])
    path = catalog.new_store("a")
    job = begun(path, model, prompts, plan=plan)
    wait(lambda: job.progress is not None and job.progress.done > 300)
    begun_later = []
    handle = model.hf.register_forward_pre_hook(lambda *_: begun_later.append(job.stopping.is_set()))
    job.stopping.set()
    wait(lambda: not job.is_active)
    handle.remove()
    assert sum(begun_later) <= 1, "it is asked to stop after every forward"
    (half,) = unfinished(catalog)
    assert half.name == "stores/a"
    assert 0 <= half.done < half.shards
    keep_prompts(catalog, path, prompts)
    wanted = to_resume(catalog, half)
    assert (wanted.prompts, wanted.plan) == (prompts, plan)
    again = Job("stores/a", path, "", Machine(model), wanted)
    again.run()
    assert again.state == "done", again.said
    assert_same_content(open_store(path), capture(model, prompts, tmp_path / "b", plan=plan, progress=False, **SMALL))


def test_the_page_lists_a_half_written_store_and_goes_on_with_it(tmp_path, model, prompts):
    stopped(tmp_path / "stores" / "a", model, prompts)
    page = opened("captures", tmp_path)
    assert says(page, "stores/a is half written: ")
    page.button(key="resume-stores/a").click().run()
    wait(lambda: not any(job.is_active for job in jobs().all()))
    assert jobs().all()[0].state == "done"
    assert open_store(tmp_path / "stores" / "a").n_prompts == len(prompts)
    other = opened("captures", tmp_path, "tiny/olmoe")
    assert not says(other, "half written")


def test_a_half_written_store_of_another_model_or_of_unknown_prompts_says_what_to_do(tmp_path, model, prompts):
    job = stopped(tmp_path / "stores" / "a", model, prompts)
    assert says(
        opened("captures", tmp_path, "tiny/olmoe"), "It was begun with another model; choose that model to go on."
    )
    plan = json.loads((job.path / "plan.json").read_text())
    plan["prompts"]["fingerprint"] = "0" * 16
    (job.path / "plan.json").write_text(json.dumps(plan))
    page = opened("captures", tmp_path)
    page.button(key="resume-stores/a").click().run()
    assert says(page, "The prompts of 'stores/a' are not on this server")


def test_a_capture_gives_way_to_whoever_waits_and_is_not_touched_by_their_plan(tmp_path, model, prompts):
    job = begun(tmp_path / "a", model, prompts)
    wait(lambda: job.progress is not None)
    ids = model.tokenizer("x", return_tensors="pt")["input_ids"]
    for _ in range(3):
        with job.machine.turns.turn(object()), steered(model, Plan.off("L2E8")):
            model.hf(ids)
    assert job.is_active  # the answers did not wait for its end
    wait(lambda: not job.is_active)
    assert job.state == "done", job.said
    assert_same_content(open_store(job.path), capture(model, prompts, tmp_path / "b", progress=False, **SMALL))


def test_one_that_waits_for_the_model_can_be_stopped(tmp_path, model, prompts):
    job = Job("stores/a", tmp_path / "a", "", Machine(model), Wanted(prompts, Plan(), Options(**SMALL)))
    with job.machine.turns.turn("somebody"):
        thread = threading.Thread(target=job.run)
        thread.start()
        wait(lambda: job.machine.turns.place(job) == 1)
        job.stopping.set()
        thread.join(5)
    assert job.state == "stopped"
    assert not (tmp_path / "a").exists()


def test_two_captures_into_one_store_are_refused_and_failures_are_sentences(tmp_path, model, prompts):
    gone, listed = Machine(model), Jobs()
    job = Job("stores/a", tmp_path / "a", "", gone, Wanted(prompts, Plan(), Options(**SMALL)))
    with gone.turns.turn("somebody"):
        listed.start(job)
        with pytest.raises(WorkbenchError, match="is being captured now"):
            listed.start(job)
        job.stopping.set()
    wait(lambda: not job.is_active)
    bad = Job("stores/b", tmp_path / "b", "", gone, Wanted(prompts, Plan(), Options(layers=[99])))
    bad.run()
    assert (bad.state, "layer 99" in bad.said.lower()) == ("failed", True)


def test_everybody_sees_a_capture_and_its_session_alone_may_stop_it(tmp_path, prompts, monkeypatch):
    shared = machine("demo")
    monkeypatch.setattr("workbench_app.dashboard.captures.jobs_panel.is_there", lambda one: True)
    job = Job(f"stores/{HOSTILE}", tmp_path / "a", "another", shared, Wanted(prompts, Plan(), Options(**SMALL)))
    with shared.turns.turn("somebody"):
        jobs().start(job)
        wait(lambda: shared.turns.place(job) == 1)
        page = opened("captures", tmp_path)
        assert says(page, "another session's")
        assert not [b for b in page.button if b.label == "Stop capture"]
        monkeypatch.setattr("workbench_app.dashboard.captures.jobs_panel.is_there", lambda one: False)
        page.run()
        next(b for b in page.button if b.label == "Stop capture").click().run()
        assert job.stopping.is_set()


@pytest.mark.parametrize("name", ["../x", "", ".hidden", "a/b", "demo store"])
def test_a_store_is_never_written_outside_of_stores(tmp_path, name):
    page = opened("captures", tmp_path)
    field = next(f for f in page.text_input if f.label == "Name of the store")
    field.set_value(name).run()
    page.button(key="capture-start").click().run()
    assert says(page, "cannot name a store")
    assert not jobs().all()


def test_an_upload_is_read_by_its_name_and_errors_name_it_without_a_path():
    found = uploaded("mine.csv", b"text,label.topic\nhello,war\n")
    assert [p.text for p in found] == ["hello"]
    with pytest.raises(WorkbenchError) as error:
        uploaded("../../etc/mine.jsonl", b'{"txt": 1}\n')
    assert "'mine.jsonl'" in str(error.value)
    assert "/tmp" not in str(error.value)


def test_damaged_stores_are_listed_with_the_reason(tmp_path):
    for name in ("cut", "lost"):
        shutil.copytree(bundled_path("demo-store"), tmp_path / "stores" / name)
    (tmp_path / "stores" / "cut" / "manifest.json").write_text("{")
    part = tmp_path / "stores" / "lost" / "slots" / "00000.parquet"
    part.write_bytes(part.read_bytes()[:-9])
    (tmp_path / "stores" / "bad").mkdir()
    (tmp_path / "stores" / "bad" / "plan.json").write_text("nonsense")
    state = opened("captures", tmp_path).dataframe[0].value.set_index("name")["state"]
    assert state["stores/cut"].startswith("damaged: 'stores/cut/manifest.json' is damaged")
    assert "slots/00000.parquet has " in state["stores/lost"]
    assert str(tmp_path) not in " ".join(state)
    assert state["stores/bad"].startswith("damaged: ")
    assert state["refusal (bundled)"] == "complete"


def test_a_run_gives_its_plan_and_its_report_as_a_download_alone(tmp_path, model):
    run = tmp_path / "runs" / "one"
    run.mkdir(parents=True)
    (run / "report.html").write_text(HOSTILE)
    plan = Plan.mute("L1E2").for_model(model.anatomy)
    plan.to_json(run / "plan.json")
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    outside.mkdir()
    (outside / "report.html").write_text("secret")
    (tmp_path / "runs" / "link").symlink_to(outside)
    page = opened("captures", tmp_path)
    assert page.selectbox(key="runs-one").options == ["one"]
    page.button(key="runs-load").click().run()
    assert page.session_state["plan"] == plan
    assert not any(HOSTILE[:8] in said for said in texts(page))
    (run / "plan.json").write_text("{")
    page.button(key="runs-load").click().run()
    assert says(page, "'runs/one/plan.json' is not a plan")
    Path(run / "plan.json").write_text(Plan((), "f" * 16).to_json())
    page.button(key="runs-load").click().run()
    assert page.error


def experiment(folder, arms, claims):
    """A finished run as `workbench run` leaves it, as far as the page reads it."""
    (folder / "tables").mkdir(parents=True)
    (folder / "recipe.toml").write_text(f'name = "made"\ntitle = {json.dumps(HOSTILE)}\n')
    (folder / "plan.json").write_text('{"recipe": "made"}')
    frames = {"arms": arms, "claims": claims, "units": pd.DataFrame({"unit": ["a"]})}
    for name, frame in frames.items():
        frame.to_parquet(folder / "tables" / f"{name}.parquet")


def test_an_experiment_run_shows_its_verdicts_and_gives_its_plans(tmp_path, model):
    arms = pd.DataFrame(
        [("demo", "base", "base", None), ("demo", "P00", "plan", "off L2E8; off L2E20"), ("demo", "P01", "plan", "off L9E0"),
         ("other", "P00", "plan", "off L1E1"), ("demo", "R00", "random", "off L0E0")],
        columns=["model", "arm", "kind", "plan"],
    )  # fmt: skip
    numbers = {"base": 0.9, "steered": 0.1, "difference": -0.8, "low": -0.9, "high": -0.7}
    claims = pd.DataFrame([{"text": HOSTILE, "model": "demo", "metric": "refused", **numbers, "verdict": "appears"}])
    experiment(tmp_path / "runs" / "mote", arms, claims)
    (tmp_path / "runs" / "begun").mkdir()
    (tmp_path / "runs" / "begun" / "recipe.toml").write_text("title = 'half done'")
    page = opened("captures", tmp_path)
    runs = page.dataframe[1].value.set_index("run")
    assert runs["state"].to_dict() == {"mote": "1 appears", "begun": "unfinished, 0 pieces of work done"}
    assert "<script>" in runs["what"]["mote"]
    assert says(page, "has no plan for the model")  # of the run that is shown first, begun
    page.selectbox(key="runs-one").set_value("mote").run()
    assert page.dataframe[2].value["verdict"].tolist() == ["appears"]
    assert page.selectbox(key="runs-plan").options == ["P00: off L2E8; off L2E20", "P01: off L9E0"]
    page.button(key="runs-load").click().run()
    assert str(page.session_state["plan"]) == "off L2E8; off L2E20"
    page.selectbox(key="runs-plan").set_value("P01: off L9E0").run()
    page.button(key="runs-load").click().run()
    assert [e for e in page.error if "layers 0" in e.value.replace("\\", "")]
    (tmp_path / "runs" / "mote" / "tables" / "claims.parquet").write_bytes(b"PAR1")
    assert opened("captures", tmp_path).dataframe[1].value.set_index("run")["state"]["mote"] == "cannot be read"


def test_hostile_names_and_plans_stay_text(tmp_path):
    hostile_store(tmp_path / "stores" / "<b>**x**")
    page = opened("captures", tmp_path, "tiny/olmoe")
    assert "stores/<b>**x**" in page.dataframe[0].value["name"].tolist()
    assert all("<b>" not in m.value for m in page.markdown)
    page.button(key="stores-check").click().run()
    assert says(page, "Every file is as it was captured.")
