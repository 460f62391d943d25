"""The page Atlas, drawn on paper: what it begins with, what it offers, and what it says without a store."""

import pandas as pd
from workbench_app.dashboard.atlas import page as atlas_page
from workbench_app.dashboard.questions import measures
from workbench_app.dashboard.session import layers
from workbench_app.dashboard.super_experts import page as super_page

from tests.app.paper import assert_drawn, drawn, write_on
from tests.app.world import view_of
from workbench import ExpertRef, Plan


def test_the_whole_atlas(tmp_path, store, monkeypatch):
    paper = write_on(
        monkeypatch,
        {"atlas-least": 1, "atlas-scores": False},
        plan=Plan.parse("mute L0E2"),
        view={"model": "tiny", "layer": "0"},
    )
    atlas_page.show(view_of(tmp_path, store))
    assert_drawn("atlas", drawn(paper))


def test_a_page_without_a_store_says_what_to_do(tmp_path, monkeypatch):
    paper = write_on(monkeypatch)
    atlas_page.show(view_of(tmp_path))
    super_page.show(view_of(tmp_path))
    assert_drawn("without_a_store", drawn(paper))


def test_the_atlas_begins_with_the_expert_chosen_or_the_first_by_the_measure(store, monkeypatch):
    frame = pd.DataFrame(
        {"layer": [1, 0, 1, 0], "expert": [2, 3, 0, 1], "score": [4.0, 3.0, 2.0, 1.0], "n": [1, 2, 3, 4]}
    )
    paper = write_on(monkeypatch)
    chosen = atlas_page.chosen_expert
    assert chosen(store, frame) == ExpertRef(1, 2)
    assert chosen(store, frame[:0]) == ExpertRef(0, 0)
    paper.session_state.view = {"model": "tiny", "layer": "0"}
    assert chosen(store, frame) == ExpertRef(0, 3)
    assert chosen(store, frame[frame["layer"] == 1]) == ExpertRef(0, 0)
    paper.session_state["atlas-at"] = 2
    assert chosen(store, frame) == ExpertRef(0, 2)
    paper.session_state["atlas-at"] = 4
    assert chosen(store, frame) == ExpertRef(0, 3)
    assert atlas_page.rows_of(frame) == (
        {0: [None, 1.0, None, 3.0], 1: [2.0, None, 4.0]}, {0: [0, 4, 0, 2], 1: [3, 0, 1]},
    )  # fmt: skip
    atlas_page.picked([ExpertRef(1, 2), ExpertRef(0, 1)])
    assert (paper.session_state.view["layer"], paper.session_state["atlas-at"]) == ("1", 2)
    paper.session_state["atlas-expert"] = 3
    atlas_page.by_hand()
    assert paper.session_state["atlas-at"] == 3


def test_a_token_of_ones_own_can_be_asked_for(tmp_path, store, monkeypatch):
    paper = write_on(monkeypatch, {"atlas-measure": atlas_page.OWN_TOKEN, "atlas-token": " in"})
    found = atlas_page.chosen_measure(
        view_of(tmp_path, store), measures.Measures((measures.Measure("load", "usage", (), "u"),), ("no *labels*",))
    )
    assert found == measures.Measure("nPMI: token  in", "npmi", (("token", " in"),), "nPMI", "PuOr_r")
    assert_drawn("atlas_token", drawn(paper))
    paper.answers["atlas-token-template"] = True
    read = atlas_page.chosen_measure(view_of(tmp_path, store), measures.Measures((found,), ()))
    assert read.options == (("token", " in"), ("tokens", "all"))


def test_the_layer_looked_at_is_one_of_the_layers(monkeypatch):
    paper = write_on(monkeypatch, view={"model": "tiny", "layer": "3"})
    assert [layers.current_layer(n) for n in ([1, 3], [1, 2])] == [3, 1]
    layers.layer_box([1, 3], "box", 1)
    assert layers.layer_slider([3], "one") == 3
    assert layers.layer_slider([1, 3], "two") == 3
    assert (paper.session_state["one"], paper.session_state["two"], paper.session_state["box"]) == (3, 3, 1)
    paper.session_state["box"] = 1
    layers.chosen_layer("box")
    assert paper.session_state.view == {"model": "tiny", "layer": "1"}
    assert paper.lines == [
        "selectbox 'Layer' [1, 3] key='box' on_change=chosen_layer args=['box']",
        "select_slider 'Layer' [1, 3] key='two' on_change=chosen_layer args=['two']",
    ]
