"""The card of an expert, drawn on paper: its scores, its sizes, its partners, and an edit that joins the plan."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from workbench_app.dashboard.atlas import card as atlas_card
from workbench_app.dashboard.atlas import card_text, expert_charts
from workbench_app.dashboard.questions import measures
from workbench_app.experts import facts as expert_facts

from tests.app.paper import assert_drawn, drawn, write_on
from tests.app.world import SHAPE, view_of
from workbench import ExpertRef, Plan, WorkbenchError


def test_the_scores_of_an_expert_in_every_probe(tmp_path, store, monkeypatch):
    paper, asked = write_on(monkeypatch, {"atlas-scores": True}), []
    frame = pd.DataFrame(
        {
            "layer": [1, 0, 0],
            "expert": [2, 2, 3],
            "score": [0.5, 0.25, np.nan],
            "n": [4, 3, 0],
            "low": 0.0,
            "high": [1.0, 0.75, 0.5],
            "p_adjusted": 0.5,
            "flags": ["", "ties", "dead"],
            "x": 1,
        }
    )

    def values(view, measure):
        asked.append(measure.name)
        if measure.name == "refused":
            raise WorkbenchError("no\x07 labels")
        return frame if measure.name == "full" else frame[["layer", "expert", "score", "n"]]

    monkeypatch.setattr(atlas_card, "values_of", values)
    made = tuple(measures.Measure(name, "m", (), f"unit of {name}") for name in ("full", "refused", "bare"))
    for ref in (ExpertRef(0, 2), ExpertRef(0, 3), ExpertRef(1, 3)):
        card = atlas_card.Card(view_of(tmp_path, store), store, ref, None)
        atlas_card.scores_in_every_probe(card, measures.Measures(made, ()))
    assert_drawn("atlas_scores", drawn(paper))
    assert asked == ["full", "refused", "bare"] * 3
    monkeypatch.setattr(atlas_card, "AT_ONCE", len(store.tokens) * 4 - 1)
    paper.answers.clear()
    paper.lines.clear()
    atlas_card.scores_in_every_probe(card, measures.Measures(made, ()))
    assert [line.split(" key=")[0] for line in paper.lines] == [
        "markdown '**Its scores in every probe that this store can answer**'",
        "toggle 'Rank every expert in every probe' False",
    ]
    monkeypatch.setattr(atlas_card, "AT_ONCE", len(store.tokens) * 8)
    paper.lines.clear()
    atlas_card.scores_in_every_probe(card, measures.Measures((), ()))
    assert paper.lines[1].startswith("toggle 'Rank every expert in every probe' True")


def test_its_label_stands_with_how_well_it_tells(tmp_path, store, monkeypatch):
    paper, asked = write_on(monkeypatch), []
    frame = pd.DataFrame(
        {"expert": [1, 0, 2], "label": ["", "' *lava*'; after ' of'", "' x'"], "auroc": [np.nan, 0.754, np.nan]}
    )

    def answered(path, method, **options):
        asked.append((path, method, options))
        if options["experts"][0] == "L1E0":
            raise WorkbenchError("no *text*")
        return SimpleNamespace(frame=frame)

    monkeypatch.setattr(card_text, "scores_of", answered)
    for expert in (0, 1, 2):
        card_text.label_of(tmp_path, ExpertRef(0, expert), 3)
    card_text.label_of(tmp_path, ExpertRef(1, 0), 3)
    assert asked[0] == (tmp_path, "describe", {"experts": ["L0E0", "L0E1", "L0E2"]})
    assert paper.lines == [
        "text \"Selected at ' *lava*'; after ' of'\"",
        "caption 'On held-out prompts this label has an AUROC of 0.75; 0.5 is chance.'",
        "caption 'No label: no word tells where it is selected.'",
        "text \"Selected at ' x'\"",
        "caption 'On held-out prompts this label cannot be held against these prompts; 0.5 is chance.'",
        "caption 'No label: no \\\\*text\\\\*'",
    ]


def test_an_expert_that_nothing_selected_and_one_without_sizes_or_partners_say_so(tmp_path, store, monkeypatch):
    paper = write_on(monkeypatch, {"atlas-scores": False}, plan=Plan(), **{"atlas-refused": "no *way*"})
    view, none = view_of(tmp_path, store), measures.Measures((), ())
    atlas_card.draw_card(view, store, ExpertRef(0, 3), none)
    card = atlas_card.Card(view, store, ExpertRef(0, 0), expert_facts.selected_by(store.routing(0), 0))
    monkeypatch.setattr(atlas_card, "partners", lambda *_: pd.DataFrame())
    atlas_card.selected_together(card)
    slots = atlas_card.slots_of_layer(str(store.path), (), 0).assign(output_l2=np.nan)
    monkeypatch.setattr(atlas_card, "slots_of_layer", lambda *_: slots)
    atlas_card.sizes_of_outputs(card)
    card_text.tokens_of(store, card.found)
    assert_drawn("atlas_nothing", drawn(paper))
    assert "atlas-refused" not in paper.session_state


def test_sizes_leave_out_shared_slots_and_what_was_not_kept(tmp_path, store, monkeypatch):
    paper = write_on(monkeypatch, {"atlas-size": "largest |value|"})
    slots = pd.DataFrame({"expert": [0, 0, 0, 1, 1, -1, 2], "output_max_abs": [1.0, 1.0, np.nan, 4.0, np.nan, 9.0, 4.0],
                          "output_l2": np.nan})  # fmt: skip
    monkeypatch.setattr(atlas_card, "slots_of_layer", lambda *_: slots)
    seen = []
    monkeypatch.setattr(
        atlas_card,
        "magnitude_table",
        lambda own, others: (
            seen.append((list(own), list(others))),
            pd.DataFrame({"from": [1.0], "to": [4.0], "expert": [1.0], "others": [0.5]}),
        )[1],
    )
    atlas_card.sizes_of_outputs(atlas_card.Card(view_of(tmp_path, store), store, ExpertRef(0, 0), None))
    assert seen == [([1.0, 1.0], [4.0, 4.0])]
    assert_drawn("atlas_sizes", drawn(paper))


def test_sizes_are_counted_in_bins_that_grow_by_a_factor():
    found = expert_charts.magnitude_table(np.array([1.0, 1.0, 100.0, 0.0]), np.array([10.0]))
    assert len(found) == 40
    ratio = found["to"] / found["from"]
    assert ratio.max() == pytest.approx(ratio.min()) == pytest.approx((100 * 1.0001) ** (1 / 40))
    assert (found["from"].iloc[0], found["to"].iloc[-1]) == pytest.approx((1.0, 100.01))
    assert (found["from"][1:].to_numpy() == found["to"][:-1].to_numpy()).all()
    assert (found["expert"].iloc[0], found["expert"].iloc[-1], found["expert"].sum()) == (0.5, 0.25, 0.75)
    assert found["others"].tolist() == [float(a <= 10 < b) for a, b in zip(found["from"], found["to"], strict=True)]
    zero = expert_charts.magnitude_table(np.array([0.0, 0.0]), np.array([]))
    assert zero.to_dict("list") == {"from": [0.0], "to": [1.0], "expert": [1.0], "others": [0.0]}
    assert expert_charts.magnitude_table(np.array([1e-15]), np.array([]))["from"].iloc[0] == pytest.approx(1e-12)


def test_an_edit_of_the_card_joins_the_plan_or_says_why_not(tmp_path, store, monkeypatch):
    paper = write_on(monkeypatch, plan=Plan.parse("mute L0E2"))
    view = view_of(tmp_path, store)
    atlas_card.apply_edit(view, ExpertRef(1, 1), "drop")
    assert str(paper.session_state.plan) == "mute L0E2; drop L1E1"
    assert paper.session_state.plan.fingerprint == SHAPE.fingerprint
    atlas_card.apply_edit(view, ExpertRef(1, 1), "off")
    atlas_card.apply_edit(view, ExpertRef(1, 2), "off")
    before = paper.session_state.plan
    atlas_card.apply_edit(view, ExpertRef(1, 3), "off")
    assert "selects 2 of 4" in paper.session_state["atlas-refused"]
    assert paper.session_state.plan == before
