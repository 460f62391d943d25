"""What a session looks at: asked for by the URL, kept in it, and read anew when files change."""

from types import SimpleNamespace

import pytest
from workbench_app.dashboard.session import BUNDLED, Catalog, catalog, machines, view

from tests.app.paper import write_on
from tests.app.world import SHAPE, store_at, view_of
from workbench import Plan, WorkbenchError

PLAN = Plan.parse("off L0E1", SHAPE)


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
    for name, words in (("nope", "has no store 'nope'"), (next(iter(BUNDLED)), "holds another model than 'tiny'")):
        paper.session_state.view["store"] = name
        with pytest.raises(WorkbenchError, match=words):
            view.current_view(served)


@pytest.mark.parametrize(
    ("text", "words"), [("off @{}", "no file is opened"), ("off L0E1; " * 9000, "at most 65,536")], ids=["file", "long"]
)
def test_no_plan_of_a_url_opens_a_file(text, words, tmp_path, store, monkeypatch):
    """Whoever can reach the page can write its URL."""
    found = SimpleNamespace(model=SimpleNamespace(anatomy=SHAPE))
    monkeypatch.setattr(view, "machine", lambda source, engine: found)
    (tmp_path / "plan.json").write_text(PLAN.to_json())
    paper = write_on(monkeypatch)
    del paper.session_state["view"]
    paper.query_params.update(plan=text.format(tmp_path / "plan.json"))
    with pytest.raises(WorkbenchError, match=words):
        view.current_view(Catalog({"tiny": "tiny"}, {}, tmp_path, "e"))


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
    assert machines.weights_of(tmp_path / "no folder") == ()
    (tmp_path / "b").write_text("12")
    (tmp_path / "a").write_text("1")
    (tmp_path / "folder").mkdir()
    at = [(tmp_path / name).stat() for name in "ab"]
    assert machines.weights_of(tmp_path) == tuple(
        (name, f"{s.st_size} {s.st_mtime_ns} {s.st_ino}") for name, s in zip("ab", at, strict=True)
    )
    loaded = []
    monkeypatch.setattr(machines, "load", lambda source, engine: (loaded.append(source), object())[1])
    one = machines.machine(str(tmp_path))
    assert machines.machine(str(tmp_path)) is one
    (tmp_path / "b").write_text("123")
    assert machines.machine(str(tmp_path)) is not one
    assert loaded == [str(tmp_path)] * 2
