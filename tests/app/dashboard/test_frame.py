"""The frame around every page: the sidebar, the parts in their order, and an error as a sentence."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from workbench_app.dashboard import navigation
from workbench_app.dashboard.captures import page as captures_page
from workbench_app.dashboard.session import Catalog
from workbench_app.dashboard.session import error_sentences as sentences

from tests.app.paper import assert_drawn, drawn, write_on
from tests.app.world import view_of
from workbench import Plan, WorkbenchError


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


def test_the_frame_of_the_pages(tmp_path, store, monkeypatch):
    paper, look = write_on(monkeypatch, plan=Plan()), view_of(tmp_path, store)
    served, ran = Catalog({"tiny": "tiny", "other": "x"}, {}, tmp_path), []
    monkeypatch.setattr(navigation, "catalog_from", lambda arguments: served if arguments == ["--x"] else None)
    monkeypatch.setattr(
        paper, "navigation", lambda pages: SimpleNamespace(run=lambda: ran.append(len(pages))), raising=False
    )
    navigation.run(["--x"])
    assert ran == [6]
    look.machine.turns.queue[:] = [1, 2]
    object.__setattr__(look, "catalog", served)
    monkeypatch.setattr(navigation, "fitting_stores", lambda catalog, anatomy: {"a": 1, "stores/one": 2})
    monkeypatch.setattr(navigation, "current_view", lambda catalog: look)
    navigation.shown_page(served, lambda given: paper.draw("page", given))
    paper.lines.append("---- one model, a store that is not listed, none at all")
    look.machine.turns.queue.clear()
    object.__setattr__(look, "catalog", Catalog({"tiny": "tiny"}, {}, tmp_path))
    object.__setattr__(look, "store_name", "elsewhere")
    navigation.sidebar(look)
    monkeypatch.setattr(navigation, "fitting_stores", lambda catalog, anatomy: {})
    navigation.sidebar(look)
    assert_drawn("frame", drawn(paper))
    assert paper.query_params == {"model": "tiny", "store": "stores/one"}
    paper.session_state["choose-store"] = "a"
    navigation.chosen_source("store")
    assert paper.session_state.view == {"model": "tiny", "store": "a"}


def test_that_experts_are_groups_of_a_dense_network_is_said_on_every_page(tmp_path, store, monkeypatch):
    paper, look = write_on(monkeypatch, plan=Plan()), view_of(tmp_path, store)
    dense = replace(look.anatomy, factorized_from="SmolLM2-135M")
    seen = SimpleNamespace(catalog=look.catalog, anatomy=dense, store_name=None, machine=look.machine)
    monkeypatch.setattr(navigation, "fitting_stores", lambda catalog, anatomy: {})
    navigation.sidebar(seen)
    assert "sidebar text 'Its experts are groups of the neurons of a dense network: SmolLM2-135M'" in paper.lines


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
        "button 'Start again with an empty plan' on_click=start_again key='start-again'",
        'error "This page failed \\\\(ValueError\\\\); reload it, and read the server\\\\\'s log for the cause\\\\."',
    ]
    assert [r.message for r in caplog.records if r.name == "workbench"] == ["a page failed"]
    paper.query_params["plan"] = "x"
    sentences.start_again()
    assert (paper.session_state, paper.query_params) == ({}, {})
