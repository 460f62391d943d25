"""The stores of a project: listed, opened, checked, and resumed where they are half written."""

import json
import os
import time
from types import SimpleNamespace

import pytest
from workbench_app.dashboard.captures import store_rows, stores_panel, unfinished
from workbench_app.dashboard.session import Catalog

from tests.app.dashboard.captures.made import PROMPTS, half, job
from tests.app.dashboard.session.test_view import PLAN
from tests.app.paper import assert_drawn, drawn, write_on
from tests.app.world import SHAPE, store_at, view_of
from workbench import WorkbenchError, read_prompts
from workbench.capturing import Options


@pytest.fixture
def project(tmp_path, store, monkeypatch):
    """A project with a whole store, a damaged one, half-written ones, and one that is gone; as a view of the whole one."""
    half(tmp_path)
    half(tmp_path, "stores/other", anatomy={"fingerprint": "0" * 16})
    half(tmp_path, "runs/r/stores/old", schema_version=0)
    half(tmp_path, "stores/odd", shards=2)
    (tmp_path / "stores" / "odd" / "plan.json").write_text("[")
    store_at(tmp_path / "stores" / "broken")
    (tmp_path / "stores" / "broken" / "manifest.json").write_text('{"files": 3}')
    there = {"stores/one": store.path, "stores/broken": tmp_path / "stores" / "broken", "gone": tmp_path / "gone",
             "stores/half": tmp_path / "stores" / "half"}  # fmt: skip
    monkeypatch.setattr(Catalog, "stores", lambda self: dict(there))
    return view_of(tmp_path, store)


def test_the_stores_of_a_project_are_rows(project, store):
    rows = store_rows.store_rows(project.catalog)
    size = sum(f.stat().st_size for f in store.path.rglob("*.parquet"))
    assert rows["size"][0] == pytest.approx(size / 1e6)
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


def test_stores_can_be_opened_checked_and_resumed(tmp_path, project, store, listed, monkeypatch):
    paper, rows = write_on(monkeypatch), store_rows.store_rows(project.catalog)
    shown = rows.assign(size=0.5, state=[s if not s.startswith("damaged: ") else "damaged" for s in rows["state"]])
    monkeypatch.setattr(stores_panel, "store_rows", lambda catalog: shown)
    stores_panel.stores_panel(project)
    paper.lines.append("---- another store, which is checked, and a capture that is resumed")
    paper.answers.update({"stores-check": True, "resume-stores/half": True})
    closed = view_of(tmp_path, store)
    object.__setattr__(closed, "store_name", "elsewhere")
    stores_panel.stores_panel(closed)
    paper.lines.append("---- no store")
    monkeypatch.setattr(stores_panel, "store_rows", lambda catalog: shown[1:2])
    listed.listed = [job(project, "stores/half", "running"), job(project, "stores/other", "running")]
    stores_panel.stores_panel(project)
    assert_drawn("stores", drawn(paper))


def test_a_damaged_store_is_named_and_not_its_path(tmp_path, monkeypatch):
    def fail(error):
        def at(path):
            raise error

        return at

    path = tmp_path / "stores" / "x"
    monkeypatch.setattr(store_rows, "store_at", fail(WorkbenchError(f"'{path}' is broken")))
    assert store_rows.row_of("stores/x", path) == {"state": "damaged: 'stores/x' is broken"}
    monkeypatch.setattr(store_rows, "store_at", fail(KeyError("x")))
    assert store_rows.row_of("stores/x", path) == {
        "state": "damaged: its files cannot be read (KeyError); capture it again"
    }
    about = {"model": {"name": "m\x07"}, "prompts": 3, "rows": {}, "steering": "off L0E1\x07", "size_bytes": 2_500_000}
    monkeypatch.setattr(store_rows, "store_at", lambda path: SimpleNamespace(info=lambda: about))
    assert store_rows.about_store("p1", ()) == {
        "model": "m\u2407", "prompts": 3, "tokens": 0, "steered": "off L0E1\u2407", "size": 2.5, "state": "complete",
    }  # fmt: skip


def test_a_store_is_opened_with_the_model_that_serves_it(tmp_path, store, monkeypatch):
    paper, look = write_on(monkeypatch, plan=PLAN), view_of(tmp_path, store)
    assert stores_panel.served_as(look, "stores/one") == "tiny"
    other = SimpleNamespace(
        anatomy=SimpleNamespace(is_same=lambda f: False), catalog=Catalog({"x": "y", "mine": "tiny"}, {}, tmp_path)
    )
    assert stores_panel.served_as(other, "stores/one") == "mine"
    other.catalog = Catalog({"x": "y"}, {}, tmp_path)
    assert stores_panel.served_as(other, "stores/one") is None
    other.store_name, other.name = "elsewhere", "x"
    monkeypatch.setattr(stores_panel, "is_unversioned", lambda fingerprint: fingerprint != SHAPE.fingerprint)
    stores_panel.one_store(other, ["stores/one"])
    assert paper.lines[-3:] == [
        "1| button 'Open' key='stores-open' on_click=open_store_of args=[None, 'stores/one'] disabled=True",
        "2| button 'Check every file' key='stores-check'",
        "text 'It holds a model that this server was not started with; start workbench app --model with that one.'",
    ]
    stores_panel.open_store_of("mine", "stores/one")
    assert paper.session_state.view == {"model": "mine", "store": "stores/one"}
    assert (paper.session_state["choose-model"], paper.session_state["choose-store"]) == ("mine", "stores/one")
    monkeypatch.setattr(stores_panel, "is_unversioned", lambda fingerprint: fingerprint == SHAPE.fingerprint)
    stores_panel.one_store(look, ["stores/one"])
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
    stores_panel.resume_capture(look, found)
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
    listed.listed = [job(look, "stores/running", "running")]
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
