"""Who is there, and what is there to look at: tabs, and the stores of a model."""

from types import SimpleNamespace

from workbench_app.dashboard.session import BUNDLED, Catalog, view, who

from workbench import WorkbenchError


def test_a_session_is_there_while_its_tab_is(monkeypatch):
    monkeypatch.setattr(who, "get_script_run_ctx", lambda **_: None)
    assert who.session() == ""
    monkeypatch.setattr(who, "get_script_run_ctx", lambda **_: SimpleNamespace(session_id="me"))
    assert who.session() == "me"
    active = SimpleNamespace(is_active_session=lambda one: one == "tab")
    monkeypatch.setattr(who, "runtime", SimpleNamespace(exists=lambda: False, get_instance=lambda: active))
    assert [who.is_there(one) for one in ("me", "tab", "gone")] == [True, False, False]
    who.runtime.exists = lambda: True
    assert [who.is_there(one) for one in ("me", "tab", "gone")] == [True, True, False]


def test_stores_of_the_model_are_listed_the_bundled_first_and_broken_ones_left_out(tmp_path, monkeypatch):
    bundled = next(iter(BUNDLED))
    made = {"a": "same", "bad": None, "b": "other", bundled: "same", "gone": OSError}

    def at(path):
        if path == "gone":
            raise OSError
        if made[path] is None:
            raise WorkbenchError("broken")
        return SimpleNamespace(anatomy=SimpleNamespace(fingerprint=made[path]))

    monkeypatch.setattr(view, "store_at", at)
    monkeypatch.setattr(Catalog, "stores", lambda self: {name: name for name in made})
    anatomy = SimpleNamespace(is_same=lambda fingerprint: fingerprint == "same")
    assert list(view.fitting_stores(Catalog({}, {}, tmp_path), anatomy)) == [bundled, "a"]
