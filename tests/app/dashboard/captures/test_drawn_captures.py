"""The page Captures and runs, the frame around every page and what sessions share, drawn on paper."""

import json
import os
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import pandas as pd
import pytest
from workbench_app.dashboard import navigation
from workbench_app.dashboard.captures import (
    capture_form,
    jobs,
    jobs_panel,
    runs,
    runs_panel,
    store_rows,
    stores_panel,
    unfinished,
)
from workbench_app.dashboard.captures import (
    page as captures_page,
)
from workbench_app.dashboard.captures.jobs import Job, Jobs, Wanted
from workbench_app.dashboard.session import BUNDLED, Catalog, Left, catalog, machines, view
from workbench_app.dashboard.session import error_sentences as sentences
from workbench_app.dashboard.session.turns import Turns
from workbench_app.dashboard.steer import answering
from workbench_app.dashboard.steer.answering import Answering

from tests.app.paper import assert_drawn, write_on
from tests.app.world import SHAPE, store_at, token, view_of
from workbench import Plan, PromptSet, WorkbenchError, read_prompts
from workbench.capturing import Estimate, Options
from workbench.progress import Progress
from workbench.prompts import Prompt

PLAN = Plan.parse("off L0E1", SHAPE)
PROMPTS = PromptSet((Prompt("a", text="one"), Prompt("b", text="two")), "dir/my prompts.jsonl")


def drawn(paper):
    return "\n".join(paper.lines)


@pytest.fixture
def store(tmp_path):
    return store_at(tmp_path / "stores" / "one")


@pytest.fixture
def listed(monkeypatch):
    """A list of captures of its own."""
    found = Jobs()
    for module in (jobs, jobs_panel, capture_form, stores_panel):
        monkeypatch.setattr(module, "jobs", lambda: found)
    return found


def job(view, name="stores/a", state="waiting", owner="", **more):
    made = Job(name, view.catalog.project / name, owner, view.machine, Wanted(PROMPTS, Plan(), Options()))
    made.state = state
    for key, value in more.items():
        setattr(made, key, value)
    return made


# ---- captures at work


def test_captures_at_work_say_how_far_they_are_and_who_may_stop_them(tmp_path, listed, monkeypatch):
    paper, look = write_on(monkeypatch), view_of(tmp_path)
    monkeypatch.setattr(jobs_panel, "session", lambda: "me")
    monkeypatch.setattr(jobs_panel, "is_there", lambda one: one in ("me", "other"))
    waits = job(look, "stores/*waits*", owner="me", progress=Progress(50, 200, 10.0))
    stops = job(look, "stores/stops", "running", "me", progress=Progress(30, 20, 1.0))
    stops.stopping.set()
    look.machine.turns._queue[:] = [stops, object(), waits]
    listed._jobs = [
        waits, stops, job(look, "stores/theirs", "running", "other", progress=Progress(0, 0, 0.0, "Loading")),
        job(look, "stores/left", "running", "gone"), job(look, "stores/x", "done", "me", said="2 prompts."),
        job(look, "stores/y", "stopped", "me", said="Stopped."), job(look, "stores/z", "failed", "me", said="no *room*"),
        job(look, "stores/not mine", "done", "other"),
    ]  # fmt: skip
    jobs_panel.jobs_panel()
    paper.lines.append("---- ended ones alone, and a look after one has ended")
    listed._jobs = listed._jobs[4:5]
    jobs_panel.jobs_panel()
    jobs_panel._draw(frozenset({1}))
    paper.lines.append("---- nothing")
    listed._jobs = []
    jobs_panel.jobs_panel()
    assert_drawn("jobs", drawn(paper))


def test_a_capture_gives_the_library_what_was_wanted_and_ends_in_a_state(tmp_path, monkeypatch):
    look, given = view_of(tmp_path), []
    made = SimpleNamespace(n_prompts=1234, manifest={"rows": {"tokens": 5678}})

    def capture(model, prompts, path, options, *, plan, progress):
        given.append(
            (model is look.machine.model, prompts, path, plan, options, one.state, look.machine.turns.place(one))
        )
        progress(Progress(1, 2, 3.0, "a message"))
        assert one.progress is None
        progress(Progress(1, 2, 3.0))
        if isinstance(made, Exception):
            raise made
        return made

    monkeypatch.setattr(jobs, "capture_with", capture)
    one = job(look)
    one.run()
    assert given == [(True, PROMPTS, tmp_path / "stores/a", None, Options(), "running", 0)]
    assert (one.state, one.said, one.progress) == ("done", "1,234 prompts, 5,678 tokens.", Progress(1, 2, 3.0))
    assert look.machine.turns.waiting == 0
    made.manifest = {"rows": {}}
    one = Job("n", tmp_path, "", look.machine, Wanted(PROMPTS, PLAN, Options(generate=3)))
    one.run()
    assert (given[1][3:5], one.said) == ((PLAN, Options(generate=3)), "1,234 prompts, 0 tokens.")
    for made, said in (
        (WorkbenchError("no room"), "no room"),
        (Left(), "Stopped; what is complete is kept, and Resume goes on from there."),
        (OSError("x"), "It failed (OSError); the server's log has the cause."),
    ):
        one = job(look)
        one.run()
        assert (one.state, one.said) == ("stopped" if isinstance(made, Left) else "failed", said)
    one = job(look)
    one.stopping.set()
    one.run()
    assert one.state == "stopped"


def test_a_capture_hands_the_model_on_where_somebody_waits(tmp_path):
    one, closed = job(view_of(tmp_path)), []
    turn, taken = SimpleNamespace(close=lambda: closed.append(1)), []
    one._take = lambda t: taken.append(t)
    one.machine.turns._queue[:] = [one]
    one._report(turn, Progress(1, 2, 3.0))
    assert (closed, taken) == ([], [])
    one.machine.turns._queue.append(object())
    one._report(turn, Progress(1, 2, 3.0))
    assert (closed, taken) == ([1], [turn])


def test_a_list_of_captures_holds_fifty_and_one_a_store(tmp_path, monkeypatch):
    look, started = view_of(tmp_path), []
    monkeypatch.setattr(threading.Thread, "start", lambda self: started.append((self.name, self.daemon)))
    found = Jobs()
    made = [job(look, f"stores/{i}", "done") for i in range(51)]
    for one in made:
        found.start(one)
    assert found.all() == made[:0:-1]
    assert started[0] == ("capture stores/0", True)
    again = job(look, "stores/3", "running")
    found.start(again)
    assert [found.all()[0], made[3] in found.all(), len(found.all())] == [again, False, 50]
    with pytest.raises(WorkbenchError, match="'stores/3' is being captured now; wait for it, or choose another name"):
        found.start(job(look, "stores/3"))
    assert [found.active_on(look.catalog.project / "stores" / n) for n in ("3", "4")] == [True, False]
    found.forget(again)
    found.forget(made[4])
    assert again in found.all()
    assert made[4] not in found.all()
    assert len(found.all()) == 49


# ---- a new capture


def test_the_form_of_a_capture_and_its_start(tmp_path, listed, monkeypatch):
    paper, look = write_on(monkeypatch, plan=PLAN), view_of(tmp_path)
    monkeypatch.setattr(capture_form, "bundled_names", lambda: ["refusal", "thinking"])
    asked = []
    expected = Estimate(1_000_000, {"tokens": 4000, "slots": 0})
    monkeypatch.setattr(capture_form, "_estimated", lambda *given: (asked.append(given), expected)[1])
    monkeypatch.setattr(listed, "start", lambda one: asked.append(one))
    capture_form.capture_form(look)
    paper.lines.append("---- everything chosen, and started")
    given = PromptSet((Prompt("a", text="x", response="y"),), "x/odd name!.csv")
    monkeypatch.setattr(capture_form, "_prompts", lambda: given)
    paper.answers.update({
        "capture-keep": ["residual", "logits"], "capture-given": False, "capture-generate": 7, "capture-temperature": 0.5,
        "capture-samples": 3, "capture-seed": 11, "capture-steered": True, "capture-start": True,
    })  # fmt: skip
    capture_form.capture_form(look)
    started = asked[-1]
    options = Options(["logits", "residual"], generate=7, batch_tokens=2048, seed=11, samples=3, temperature=0.5)
    assert asked[-2] == (
        look.machine.model,
        given,
        SHAPE.fingerprint,
        given.fingerprint,
        options,
    )
    shard = min(capture_form.SHARD_TOKENS, 50_000)  # a twentieth of the tokens
    assert (started.name, started.path, started.machine) == (
        "stores/odd-name-",
        tmp_path / "stores" / "odd-name-",
        look.machine,
    )
    wanted = started.wanted
    assert (wanted.prompts, wanted.plan, wanted.options) == (given, PLAN, replace(options, shard_tokens=shard))
    kept = tmp_path / "stores" / ".prompts" / "odd-name-.jsonl"
    assert read_prompts(kept).fingerprint == given.fingerprint
    paper.answers |= {"capture-given": True}
    expected = Estimate(20_000, {"tokens": 4000})
    paper.session_state.plan = Plan()
    capture_form.capture_form(look)
    options = asked[-1].wanted.options
    assert (options.generate, options.responses, options.shard_tokens) == (0, True, 2048)
    (tmp_path / "stores" / "odd-name-").mkdir()
    capture_form.capture_form(look)
    paper.answers[f"capture-name-{capture_form._free(look, 'odd name!')}"] = "odd-name-"
    capture_form.capture_form(look)
    assert_drawn("capture_form", drawn(paper))


def test_prompts_come_from_a_bundled_file_or_an_upload(monkeypatch):
    paper = write_on(monkeypatch, {"capture-prompts": "thinking", "capture-split": "ranking"})
    found = capture_form._prompts()
    assert found.fingerprint == read_prompts("thinking").filter(split="ranking").fingerprint
    paper.answers["capture-prompts"] = capture_form.UPLOAD
    assert capture_form._prompts() is None
    line = b'{"text": "hello", "split": "heldout"}\n{"text": "bye"}\n'
    paper.answers["capture-file"] = SimpleNamespace(name="dir/Mine.JSONL", getvalue=lambda: line)
    paper.answers["capture-split"] = None
    found = capture_form._prompts()
    assert ([p.text for p in found], found.source) == (["hello", "bye"], "Mine.JSONL")
    paper.answers["capture-file"] = SimpleNamespace(name="bad.jsonl", getvalue=lambda: b"{")
    assert capture_form._prompts() is None
    assert paper.lines[-1].startswith("error")
    assert "bad\\\\.jsonl" in paper.lines[-1]
    assert "/tmp" not in paper.lines[-1].replace("\\", "")
    shown = [p for p in paper.lines if "capture-split" in p]
    assert shown == [
        "1| selectbox 'Split' ['all', 'heldout', 'ranking'] key='capture-split'",
        "1| selectbox 'Split' ['all', 'heldout'] key='capture-split'",
    ]
    assert (
        "file_uploader 'Prompts as JSONL or CSV, one prompt a line' ['jsonl', 'csv'] key='capture-file'" in paper.lines
    )
    assert "text \"No file yet; drop one above. Each line needs 'text', 'prompt' or 'messages'.\"" in paper.lines


def test_the_size_is_what_the_library_would_make_of_the_request(monkeypatch):
    asked = []
    monkeypatch.setattr(
        capture_form,
        "make_request",
        lambda *given, **how: (asked.append((given, how)), SimpleNamespace(estimate="size"))[1],
    )
    assert capture_form._estimated("m", PROMPTS, "f1", "p1", Options(generate=2)) == "size"
    assert asked == [(("m", PROMPTS, Options(generate=2)), {})]


def test_a_free_name_is_made_of_what_a_name_may_have(tmp_path):
    look = view_of(tmp_path)
    for source, name in (
        ("a b/c", "a-b-c"),
        ("..x", "x"),
        ("", "store"),
        ("...", "store"),
        ("n" * 41, "n" * 40),
        ("\u00e4_1.2", "\u00e4_1.2"),
    ):
        assert capture_form._free(look, source) == name
    (tmp_path / "stores" / "x").mkdir(parents=True)
    assert capture_form._free(look, "x") == "x-2"
    (tmp_path / "stores" / "x-2").mkdir()
    assert capture_form._free(look, "x") == "x-3"


# ---- stores


def half(project, name="stores/half", done=1, shards=3, **plan):
    path = project / name
    (path / "shards").mkdir(parents=True)
    for i in range(done):
        (path / "shards" / f"{i}.json").write_text("{}")
    options = {"keep": ["norms"], "generate": 2, "samples": 1, "temperature": 0.0, "layers": None, "experts": None,
               "batch_tokens": 5, "shard_tokens": 6, "seed": 7, "text": True, "responses": None, "more": 1}  # fmt: skip
    made = {"schema_version": unfinished.SCHEMA_VERSION, "shards": list(range(shards)), "options": options,
            "anatomy": {"fingerprint": SHAPE.fingerprint}, "prompts": {"fingerprint": PROMPTS.fingerprint}} | plan  # fmt: skip
    (path / "plan.json").write_text(json.dumps(made))
    return path


def test_the_stores_of_a_project_are_rows_and_can_be_opened_checked_and_resumed(tmp_path, store, listed, monkeypatch):
    paper, look = write_on(monkeypatch), view_of(tmp_path, store)
    half(tmp_path)
    half(tmp_path, "stores/other", anatomy={"fingerprint": "0" * 16})
    half(tmp_path, "runs/r/stores/old", schema_version=0)
    half(tmp_path, "stores/odd", shards=2)
    (tmp_path / "stores" / "odd" / "plan.json").write_text("[")
    store_at(tmp_path / "stores" / "broken")
    (tmp_path / "stores" / "broken" / "manifest.json").write_text('{"files": 3}')
    monkeypatch.setattr(
        Catalog,
        "stores",
        lambda self: dict(
            {
                "stores/one": store.path,
                "stores/broken": tmp_path / "stores" / "broken",
                "gone": tmp_path / "gone",
                "stores/half": tmp_path / "stores" / "half",
            }.items()
        ),
    )
    rows = store_rows.store_rows(look.catalog)
    size = sum(f.stat().st_size for f in store.path.rglob("*") if f.is_file())
    assert rows["size"][0] == pytest.approx(size / 1e6, rel=0.2)
    assert rows.drop(columns="size").iloc[0].tolist() == ["stores/one", "tiny", 2, 6, "no", "complete"]
    said = dict(zip(rows["name"], rows["state"], strict=True))
    assert said.pop("stores/broken").startswith("damaged: ")
    assert said == {
        "stores/one": "complete",
        "stores/half": "half written: 1 of 3 shards complete",
        "stores/other": "half written: 1 of 3 shards complete",
        "runs/r/stores/old": "damaged: its plan.json cannot be read, or is of another version",
        "stores/odd": "damaged: its plan.json cannot be read, or is of another version",
    }
    assert rows["name"].tolist()[-2:] == ["runs/r/stores/old", "stores/odd"]
    shown = rows.assign(size=0.5, state=[s if not s.startswith("damaged: ") else "damaged" for s in rows["state"]])
    monkeypatch.setattr(stores_panel, "store_rows", lambda catalog: shown)
    stores_panel.stores_panel(look)
    paper.lines.append("---- another store, which is checked, and a capture that is resumed")
    paper.answers.update({"stores-check": True, "resume-stores/half": True})
    closed = view_of(tmp_path, store)
    object.__setattr__(closed, "store_name", "elsewhere")
    stores_panel.stores_panel(closed)
    paper.lines.append("---- no store")
    monkeypatch.setattr(stores_panel, "store_rows", lambda catalog: shown[1:2])
    listed._jobs = [job(look, "stores/half", "running"), job(look, "stores/other", "running")]
    stores_panel.stores_panel(look)
    assert_drawn("stores", drawn(paper))


def test_a_damaged_store_is_named_and_not_its_path(tmp_path, monkeypatch):
    def fail(error):
        def at(path):
            raise error

        return at

    path = tmp_path / "stores" / "x"
    monkeypatch.setattr(store_rows, "store_at", fail(WorkbenchError(f"'{path}' is broken")))
    assert store_rows._row("stores/x", path) == {"state": "damaged: 'stores/x' is broken"}
    monkeypatch.setattr(store_rows, "store_at", fail(KeyError("x")))
    assert store_rows._row("stores/x", path) == {
        "state": "damaged: its files cannot be read (KeyError); capture it again"
    }
    about = {"model": {"name": "m\x07"}, "prompts": 3, "rows": {}, "steering": "off L0E1\x07", "size_bytes": 2_500_000}
    monkeypatch.setattr(store_rows, "store_at", lambda path: SimpleNamespace(info=lambda: about))
    assert store_rows._about("p1", ()) == {
        "model": "m\u2407", "prompts": 3, "tokens": 0, "steered": "off L0E1\u2407", "size": 2.5, "state": "complete",
    }  # fmt: skip


def test_a_store_is_opened_with_the_model_that_serves_it(tmp_path, store, monkeypatch):
    paper, look = write_on(monkeypatch, plan=PLAN), view_of(tmp_path, store)
    assert stores_panel._served_as(look, "stores/one") == "tiny"
    other = SimpleNamespace(
        anatomy=SimpleNamespace(is_same=lambda f: False), catalog=Catalog({"x": "y", "mine": "tiny"}, {}, tmp_path)
    )
    assert stores_panel._served_as(other, "stores/one") == "mine"
    other.catalog = Catalog({"x": "y"}, {}, tmp_path)
    assert stores_panel._served_as(other, "stores/one") is None
    other.store_name, other.name = "elsewhere", "x"
    monkeypatch.setattr(stores_panel, "is_unversioned", lambda fingerprint: fingerprint != SHAPE.fingerprint)
    stores_panel._one_store(other, ["stores/one"])
    assert paper.lines[-3:] == [
        "1| button 'Open' key='stores-open' on_click=_open args=[None, 'stores/one'] disabled=True",
        "2| button 'Check every file' key='stores-check'",
        "text 'It holds a model that this server was not started with; start `workbench app --model` with that one.'",
    ]
    stores_panel._open("mine", "stores/one")
    assert paper.session_state.view == {"model": "mine", "store": "stores/one"}
    assert (paper.session_state["choose-model"], paper.session_state["choose-store"]) == ("mine", "stores/one")
    monkeypatch.setattr(stores_panel, "is_unversioned", lambda fingerprint: fingerprint == SHAPE.fingerprint)
    stores_panel._one_store(look, ["stores/one"])
    assert paper.lines[-2:] == [
        f'text "{stores_panel.WITHOUT_VERSION}"',
        "text 'This store is open; every page shows it.'",
    ]


def test_a_half_written_store_is_resumed_as_it_was_begun(tmp_path, listed, monkeypatch):
    paper, look, started = write_on(monkeypatch), view_of(tmp_path), []
    monkeypatch.setattr(listed, "start", started.append)
    half(tmp_path, steering=json.loads(PLAN.to_json()))
    (found,) = unfinished.unfinished(look.catalog)
    with pytest.raises(WorkbenchError, match="The prompts of 'stores/half' are not on this server; run the same"):
        unfinished.to_resume(look.catalog, found)
    unfinished.keep_prompts(look.catalog, tmp_path / "stores" / "half", PROMPTS)
    stores_panel._resume(look, found)
    (one,) = started
    assert (one.name, one.path, one.machine, paper.lines) == ("stores/half", found.path, look.machine, ["rerun"])
    wanted = one.wanted
    assert (wanted.prompts.fingerprint, str(wanted.plan)) == (PROMPTS.fingerprint, "off L0E1")
    assert wanted.options == Options(["norms"], generate=2, batch_tokens=5, shard_tokens=6, seed=7)
    found.plan["options"] |= {"responses": "a digest", "generate": 0, "samples": 4}
    assert unfinished.to_resume(look.catalog, found).options.responses is True
    del found.plan["steering"]
    assert not unfinished.to_resume(look.catalog, found).plan
    bundled = read_prompts("faithfulness").filter(split="heldout")
    found.plan["prompts"]["fingerprint"] = bundled.fingerprint
    assert unfinished.to_resume(look.catalog, found).prompts.fingerprint == bundled.fingerprint


def test_kept_prompts_go_when_nothing_needs_them(tmp_path, listed, monkeypatch):
    look = view_of(tmp_path)
    half(tmp_path, "stores/begun")
    half(tmp_path, "stores/ended")
    (tmp_path / "stores" / "ended" / "manifest.json").write_text("{}")
    listed._jobs = [job(look, "stores/running", "running")]
    names = ("begun", "ended", "running", "forgotten", "new")
    for name in names:
        unfinished.keep_prompts(look.catalog, tmp_path / "stores" / name, PROMPTS)
    kept = tmp_path / "stores" / ".prompts"
    for name in names[:4]:
        os.utime(kept / f"{name}.jsonl", (time.time() - 61,) * 2)
    os.utime(kept / "new.jsonl", (time.time() - 50,) * 2)
    unfinished.drop_kept(look.catalog)
    assert sorted(p.stem for p in kept.glob("*")) == ["begun", "new", "running"]


def test_only_folders_of_the_project_are_begun_stores(tmp_path):
    project, beside = tmp_path / "p", tmp_path / "beside"
    half(beside, "x")
    half(project, "stores/real")
    half(project, "runs/r/stores/deep")
    half(project, "stores/done")
    (project / "stores" / "done" / "manifest.json").write_text("{}")
    (project / "stores" / "link").symlink_to(beside / "x")
    given = {"given": beside / "x", "whole": project / "stores" / "done", "none": tmp_path / "none"}
    found = unfinished.begun(Catalog({}, given, project))
    assert found == {
        "given": beside / "x",
        "stores/real": project / "stores/real",
        "runs/r/stores/deep": project / "runs/r/stores/deep",
    }


# ---- runs


def run_of(project, name, **files):
    path = project / "runs" / name
    (path / "tables").mkdir(parents=True)
    for file, text in files.items():
        (path / file.replace("_", ".")).write_text(text)
    os.utime(path, (1_000_000_000.6,) * 2)
    return path


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


def test_the_runs_of_a_project_give_their_plans_and_reports(tmp_path, monkeypatch):
    paper, look = write_on(monkeypatch, plan=Plan()), view_of(tmp_path)
    runs_panel.runs_panel(look)
    run_of(tmp_path, "demo", plan_json=PLAN.to_json(), report_html="x")
    made = run_of(tmp_path, "exp\x07", recipe_toml='name = "n\\u0007"\n')
    (made / "tables" / "units.parquet").write_text("")
    claims = {
        "text": "Falls\x07",
        "model": "tiny",
        "metric": "refused",
        "base": 0.5,
        "steered": 0.25,
        "difference": -0.25,
        "low": -0.5,
        "high": 0.0,
        "verdict": "held",
    }
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
    monkeypatch.setattr(runs_panel, "_changed", lambda run: "then")
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
    runs_panel._use(
        look, runs.Run("x", tmp_path / "runs" / "x"), lambda: Plan.from_json(tmp_path / "runs" / "x" / "plan.json")
    )
    assert_drawn("runs", drawn(paper))


def test_a_run_was_changed_when_its_folder_was(tmp_path):
    from datetime import datetime

    run = runs.Run("a", run_of(tmp_path, "a"))
    assert runs_panel._changed(run) == datetime.fromtimestamp(1_000_000_001)


def test_the_page_has_its_parts_in_order(tmp_path, monkeypatch):
    paper, look = write_on(monkeypatch), view_of(tmp_path)
    for name in ("drop_kept", "jobs_panel", "capture_form", "stores_panel", "runs_panel"):
        monkeypatch.setattr(
            captures_page, name, lambda *given, name=name: paper.draw(name, *(type(g).__name__ for g in given))
        )
    captures_page.show(look)
    assert paper.lines == [
        "header 'Captures and runs'",
        "text 'A capture runs prompts through the model and keeps what every expert did. It goes on when this tab is closed.'",
        "drop_kept 'Catalog'",
        "jobs_panel",
        "capture_form 'View'",
        "stores_panel 'View'",
        "runs_panel 'View'",
    ]


# ---- the frame around every page


def test_the_frame_of_the_pages(tmp_path, store, monkeypatch):
    paper, look = write_on(monkeypatch, plan=Plan()), view_of(tmp_path, store)
    served, ran = Catalog({"tiny": "tiny", "other": "x"}, {}, tmp_path), []
    monkeypatch.setattr(navigation, "catalog_from", lambda arguments: served if arguments == ["--x"] else None)
    monkeypatch.setattr(
        paper, "navigation", lambda pages: SimpleNamespace(run=lambda: ran.append(len(pages))), raising=False
    )
    navigation.run(["--x"])
    assert ran == [6]
    look.machine.turns._queue[:] = [1, 2]
    object.__setattr__(look, "catalog", served)
    monkeypatch.setattr(navigation, "fitting_stores", lambda catalog, anatomy: {"a": 1, "stores/one": 2})
    monkeypatch.setattr(navigation, "current_view", lambda catalog: look)
    navigation._page(served, lambda given: paper.draw("page", given))
    paper.lines.append("---- one model, a store that is not listed, none at all")
    look.machine.turns._queue.clear()
    object.__setattr__(look, "catalog", Catalog({"tiny": "tiny"}, {}, tmp_path))
    object.__setattr__(look, "store_name", "elsewhere")
    navigation._sidebar(look)
    monkeypatch.setattr(navigation, "fitting_stores", lambda catalog, anatomy: {})
    navigation._sidebar(look)
    assert_drawn("frame", drawn(paper))
    assert paper.query_params == {"model": "tiny", "store": "stores/one"}
    paper.session_state["choose-store"] = "a"
    navigation._chosen("store")
    assert paper.session_state.view == {"model": "tiny", "store": "a"}


def test_what_goes_wrong_on_a_page_is_a_sentence(monkeypatch, caplog):
    from streamlit.errors import StreamlitAPIException

    paper = write_on(monkeypatch, other=1)
    with sentences.sentences():
        raise WorkbenchError("no *room*")
    with sentences.sentences():
        raise ValueError("x")
    with pytest.raises(StreamlitAPIException), sentences.sentences():
        raise StreamlitAPIException("stop")
    assert paper.lines == [
        "error 'no \\\\*room\\\\*' icon=':material/error:'",
        "button 'Start again with an empty plan' on_click=_start_again key='start-again'",
        'error "This page failed \\\\(ValueError\\\\); reload it, and read the server\\\\\'s log for the cause\\\\."',
    ]
    assert [r.message for r in caplog.records if r.name == "workbench"] == ["a page failed"]
    paper.query_params["plan"] = "x"
    sentences._start_again()
    assert (paper.session_state, paper.query_params) == ({}, {})


def test_a_view_is_what_the_url_asks_for(tmp_path, store, monkeypatch):
    found = SimpleNamespace(model=SimpleNamespace(anatomy=SHAPE))
    monkeypatch.setattr(view, "machine", lambda source, engine: found if (source, engine) == ("tiny", "e") else None)
    served = Catalog({"tiny": "tiny"}, {}, tmp_path, "e")
    store_at(tmp_path / "stores" / "two")
    paper = write_on(monkeypatch)
    del paper.session_state["view"]
    paper.query_params.update(plan="off L0E1", layer="1", other="x")
    look = view.current_view(served)
    assert (look.name, look.machine, look.store_name, look.store_path) == ("tiny", found, "stores/one", store.path)
    assert paper.session_state.view == {"model": "tiny", "plan": "off L0E1", "layer": "1"}
    assert (paper.session_state.plan, paper.session_state.past) == (PLAN.for_model(SHAPE), [])
    assert look.store.n_prompts == 2
    paper.session_state.view["store"] = "stores/two"
    assert view.current_view(served).store_path == tmp_path / "stores" / "two"
    for name, words in (("nope", "has no store 'nope'"), (BUNDLED, "holds another model than 'tiny'")):
        paper.session_state.view["store"] = name
        with pytest.raises(WorkbenchError, match=words):
            view.current_view(served)


def test_plans_are_undone_one_by_one_and_another_model_begins_anew(monkeypatch):
    plans = [Plan.parse(f"off L0E{i}") for i in range(60)]
    paper = write_on(monkeypatch, plan=Plan())
    for plan in (*plans, plans[-1]):
        view.set_plan(plan)
    assert paper.session_state.past == plans[9:59]
    view.undo()
    assert (view.plan(), paper.session_state.past) == (plans[58], plans[9:58])
    paper.session_state.past = []
    view.undo()
    assert view.plan() == plans[58]
    view.choose(layer="1", store="s")
    assert (paper.session_state.view, view.plan()) == ({"model": "tiny", "layer": "1", "store": "s"}, plans[58])
    view.choose(layer=None, model="tiny")
    assert paper.session_state.view == {"model": "tiny", "store": "s"}
    paper.session_state.past = [Plan()]
    view.choose(model="other")
    assert (paper.session_state.view, view.plan(), paper.session_state.past) == ({"model": "other"}, Plan(), [])


def test_the_url_holds_names_and_the_plan(tmp_path, monkeypatch):
    paper, look = write_on(monkeypatch, plan=PLAN, view={"model": "tiny", "layer": "1"}), view_of(tmp_path)
    paper.query_params.update(store="old", layer="1")
    view.write_url(look)
    assert paper.query_params == {"model": "tiny", "layer": "1", "plan": "off L0E1"}
    paper.session_state.plan = Plan()
    view.write_url(look)
    assert paper.query_params == {"model": "tiny", "layer": "1"}


# ---- names, machines, turns


def test_names_and_nothing_else_are_served(tmp_path):
    found = catalog.catalog_from(
        [f"--project={tmp_path}", "--model=tiny/olmoe", f"--model={tmp_path}", f"--store={tmp_path / 's'}"]
    )
    assert found == Catalog({"tiny/olmoe": "tiny/olmoe", tmp_path.name: str(tmp_path)}, {"s": tmp_path / "s"}, tmp_path)
    assert catalog.catalog_from([]).models == {"demo": "demo"}
    many = Catalog({f"m{i}": "" for i in range(9)}, {}, tmp_path)
    with pytest.raises(
        WorkbenchError, match=r"This server has no model 'x{60}'; it has m0, m1, m2, m3, m4, m5, m6, m7\.$"
    ):
        many.model("x" * 61)
    with pytest.raises(WorkbenchError, match=r"no model 'demo'; it has none\.$"):
        Catalog({}, {}, tmp_path).model("demo")
    assert found.new_store("a-b_c.1") == tmp_path / "stores" / "a-b_c.1"
    for name in ("", ".x", "a/b", "x y"):
        with pytest.raises(WorkbenchError, match="cannot name a store"):
            found.new_store(name)
    for name in ("a", "b"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    (tmp_path / "runs" / "file").write_text("")
    (tmp_path / "runs" / "b" / "report.html").write_text("")
    assert found.runs() == {"b": tmp_path / "runs" / "b"}


def test_a_model_and_a_store_are_read_anew_when_their_files_change(tmp_path, monkeypatch):
    assert machines._weights(tmp_path / "no folder") == ()
    (tmp_path / "b").write_text("12")
    (tmp_path / "a").write_text("1")
    (tmp_path / "folder").mkdir()
    at = [(tmp_path / name).stat() for name in "ab"]
    assert machines._weights(tmp_path) == tuple(
        (name, f"{s.st_size} {s.st_mtime_ns} {s.st_ino}") for name, s in zip("ab", at, strict=True)
    )
    loaded = []
    monkeypatch.setattr(machines, "load", lambda source, engine: (loaded.append(source), object())[1])
    one = machines.machine(str(tmp_path))
    assert machines.machine(str(tmp_path)) is one
    (tmp_path / "b").write_text("123")
    assert machines.machine(str(tmp_path)) is not one
    assert loaded == [str(tmp_path)] * 2


def test_turns_end_with_the_block_and_whoever_left_is_out_of_the_queue():
    turns, mine, other = Turns(), object(), object()
    with turns.turn(mine):
        assert (turns.place(mine), turns.place(other), turns.waiting) == (0, None, 1)
        with pytest.raises(Left), turns.turn(other, lambda: turns.place(other) == 1):
            raise AssertionError("it is not its turn")
        assert turns.waiting == 1
    with pytest.raises(ValueError, match="x"), turns.turn(mine):
        raise ValueError("x")
    assert turns.waiting == 0


# ---- an answer


def test_both_answers_come_a_token_each_in_turn(tmp_path, monkeypatch):
    look, asked, order = view_of(tmp_path), [], []

    def stream(model, prompts, plan=None, *, max_new_tokens, dose=None):
        asked.append((model is look.machine.model, prompts.prompts[0].messages, plan, max_new_tokens, dose))

        def tokens():
            for i in range(3 if plan else 2):
                order.append((bool(plan), i))
                yield token(i)

        return tokens()

    monkeypatch.setattr(answering, "stream", stream)
    one = Answering(look.machine, "why?", PLAN, 9)
    one._started = time.monotonic()
    one._run()
    assert (one.state, one.error) == ("done", "")
    message = ({"role": "user", "content": "why?"},)
    assert asked == [(True, message, None, 9, None), (True, message, PLAN, 9, one.dose)]
    assert order == [(False, 0), (True, 0), (False, 1), (True, 1), (True, 2)]
    assert ([t.chosen.id for t in one.base], [t.chosen.id for t in one.steered]) == ([0, 1], [0, 1, 2])
    assert 0 <= one.first_token_seconds < 60
    asked.clear()
    again = one.again(Plan())
    again._started = 0.0
    again._run()
    assert (asked, again.state, len(again.base)) == ([], "done", 2)
    text = Answering(view_of(tmp_path, template=None).machine, "why?", Plan(), 9)
    monkeypatch.setattr(
        answering, "stream", lambda model, prompts, **how: (asked.append(prompts.prompts[0].text), iter(()))[1]
    )
    text._run()
    assert asked == ["why?"]


def test_an_answer_that_nobody_looks_at_or_that_is_stopped_ends(tmp_path, monkeypatch):
    look, closed = view_of(tmp_path), []

    class Tokens:
        def __next__(self):
            one.stopping = True
            return token(1)

        def close(self):
            closed.append(1)

    monkeypatch.setattr(answering, "stream", lambda *_, **__: Tokens())
    one = Answering(look.machine, "why?", PLAN, 9)
    one._started = 0.0
    one._run()
    assert (one.state, len(one.base), len(one.steered), closed) == ("stopped", 1, 0, [1, 1])
    assert one.first_token_seconds > 0
    left = Answering(look.machine, "why?", PLAN, 9, seen=time.monotonic() - 9)
    assert not left._has_left()
    left.seen -= 2
    assert left._has_left()
    left.look()
    assert not left._has_left()
    left.stop()
    assert left._has_left()
    for error, said in (
        (WorkbenchError("too long"), "too long"),
        (Left(), ""),
        (KeyError("x"), "The answer failed (KeyError); the server's log has the cause."),
    ):
        failing = Answering(look.machine, "why?", PLAN, 9)

        def fail(error=error):
            raise error

        failing._generate = fail
        failing._run()
        assert (failing.state, failing.error) == ("stopped" if isinstance(error, Left) else "failed", said)
        assert not failing.is_active
