"""The pages Atlas and Super experts, drawn on paper: boards, cards, charts and tables of a store that fits in a head."""

import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from workbench_app.dashboard.atlas import (
    card as atlas_card,
)
from workbench_app.dashboard.atlas import (
    card_text,
    expert_charts,
    expert_facts,
)
from workbench_app.dashboard.atlas import (
    page as atlas_page,
)
from workbench_app.dashboard.atlas.expert_facts import Context, Selected
from workbench_app.dashboard.questions import measures
from workbench_app.dashboard.session import layers
from workbench_app.dashboard.super_experts import magnitudes, sinks, sinks_panel
from workbench_app.dashboard.super_experts import page as super_page

from probes.magnitudes import MassiveRule
from probes.outputs import Thresholds
from probes.ranking import ExpertScores
from tests.app.paper import assert_drawn, figure_said, said, write_on
from tests.app.world import SHAPE, store_at, view_of
from tests.support.stores import random_store
from workbench import ExpertRef, Plan, WorkbenchError
from workbench.routing import DoseCounts


@pytest.fixture
def store(tmp_path):
    return store_at(tmp_path / "stores" / "one")


def drawn(paper):
    return "\n".join(paper.lines)


def test_the_whole_atlas(tmp_path, store, monkeypatch):
    paper = write_on(
        monkeypatch,
        {"atlas-least": 1, "atlas-scores": False},
        plan=Plan.parse("mute L0E2"),
        view={"model": "tiny", "layer": "0"},
    )
    atlas_page.show(view_of(tmp_path, store))
    assert_drawn("atlas", drawn(paper))


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
        atlas_card._scores(card, measures.Measures(made, ()))
    assert_drawn("atlas_scores", drawn(paper))
    assert asked == ["full", "refused", "bare"] * 3
    monkeypatch.setattr(atlas_card, "_AT_ONCE", len(store.tokens) * 4 - 1)
    paper.answers.clear()
    paper.lines.clear()
    atlas_card._scores(card, measures.Measures(made, ()))
    assert [line.split(" key=")[0] for line in paper.lines] == [
        "markdown '**Its scores in every probe that this store can answer**'",
        "toggle 'Rank every expert in every probe' False",
    ]
    monkeypatch.setattr(atlas_card, "_AT_ONCE", len(store.tokens) * 8)
    paper.lines.clear()
    atlas_card._scores(card, measures.Measures((), ()))
    assert paper.lines[1].startswith("toggle 'Rank every expert in every probe' True")


def test_an_expert_that_nothing_selected_and_one_without_sizes_or_partners_say_so(tmp_path, store, monkeypatch):
    paper = write_on(monkeypatch, {"atlas-scores": False}, plan=Plan(), **{"atlas-refused": "no *way*"})
    view, none = view_of(tmp_path, store), measures.Measures((), ())
    atlas_card.draw_card(view, store, ExpertRef(0, 3), none)
    card = atlas_card.Card(view, store, ExpertRef(0, 0), expert_facts.selected_by(store.routing(0), 0))
    monkeypatch.setattr(atlas_card, "partners", lambda *_: pd.DataFrame())
    atlas_card._together(card)
    slots = atlas_card._slots(str(store.path), (), 0).assign(output_l2=np.nan)
    monkeypatch.setattr(atlas_card, "_slots", lambda *_: slots)
    atlas_card._sizes(card)
    card_text.tokens_of(store, card.found)
    assert_drawn("atlas_nothing", drawn(paper))
    assert "atlas-refused" not in paper.session_state


def test_sizes_leave_out_shared_slots_and_what_was_not_kept(tmp_path, store, monkeypatch):
    paper = write_on(monkeypatch, {"atlas-size": "largest |value|"})
    slots = pd.DataFrame({"expert": [0, 0, 0, 1, 1, -1, 2], "output_max_abs": [1.0, 1.0, np.nan, 4.0, np.nan, 9.0, 4.0],
                          "output_l2": np.nan})  # fmt: skip
    monkeypatch.setattr(atlas_card, "_slots", lambda *_: slots)
    seen = []
    monkeypatch.setattr(
        atlas_card,
        "magnitude_table",
        lambda own, others: (
            seen.append((list(own), list(others))),
            pd.DataFrame({"from": [1.0], "to": [4.0], "expert": [1.0], "others": [0.5]}),
        )[1],
    )
    atlas_card._sizes(atlas_card.Card(view_of(tmp_path, store), store, ExpertRef(0, 0), None))
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
    atlas_card._apply(view, ExpertRef(1, 1), "drop")
    assert str(paper.session_state.plan) == "mute L0E2; drop L1E1"
    assert paper.session_state.plan.fingerprint == SHAPE.fingerprint
    atlas_card._apply(view, ExpertRef(1, 1), "off")
    atlas_card._apply(view, ExpertRef(1, 2), "off")
    before = paper.session_state.plan
    atlas_card._apply(view, ExpertRef(1, 3), "off")
    assert "selects 2 of 4" in paper.session_state["atlas-refused"]
    assert paper.session_state.plan == before


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
    chosen = atlas_page._chosen
    assert chosen(store, frame) == ExpertRef(1, 2)
    assert chosen(store, frame[:0]) == ExpertRef(0, 0)
    paper.session_state.view = {"model": "tiny", "layer": "0"}
    assert chosen(store, frame) == ExpertRef(0, 3)
    assert chosen(store, frame[frame["layer"] == 1]) == ExpertRef(0, 0)
    paper.session_state["atlas-at"] = 2
    assert chosen(store, frame) == ExpertRef(0, 2)
    paper.session_state["atlas-at"] = 4
    assert chosen(store, frame) == ExpertRef(0, 3)
    assert atlas_page._rows(frame) == (
        {0: [None, 1.0, None, 3.0], 1: [2.0, None, 4.0]}, {0: [0, 4, 0, 2], 1: [3, 0, 1]},
    )  # fmt: skip
    atlas_page._picked([ExpertRef(1, 2), ExpertRef(0, 1)])
    assert (paper.session_state.view["layer"], paper.session_state["atlas-at"]) == ("1", 2)
    paper.session_state["atlas-expert"] = 3
    atlas_page._by_hand()
    assert paper.session_state["atlas-at"] == 3


def test_a_token_of_ones_own_can_be_asked_for(tmp_path, store, monkeypatch):
    paper = write_on(monkeypatch, {"atlas-measure": atlas_page._TOKEN, "atlas-token": " in"})
    found = atlas_page._measure(measures.Measures((measures.Measure("load", "usage", (), "u"),), ("no *labels*",)))
    assert found == measures.Measure("nPMI: token  in", "npmi", (("token", " in"),), "nPMI", "PuOr_r")
    assert_drawn("atlas_token", drawn(paper))


def test_what_the_atlas_offers_is_what_the_store_can_answer(tmp_path, store):
    found = measures.measures_for(view_of(tmp_path, store), store)
    assert_drawn("measures", "\n".join([*(said(tuple(m)) for m in found.measures), *found.refused]))
    bare = random_store(tmp_path / "bare")
    none = measures.measures_for(view_of(tmp_path, bare), bare)
    assert_drawn("measures_of_little", "\n".join([*(said(tuple(m)) for m in none.measures), *none.refused]))


def labelled(tmp_path, **values):
    rows = [(f"p{i}", name, v) for name, given in values.items() for i, v in enumerate(given)]
    return type("Store", (), {"labels": pd.DataFrame(rows, columns=["prompt_id", "name", "value"])})()


def test_labels_with_a_few_values_are_classes(tmp_path):
    many = [str(i) for i in range(12)]
    found = measures._classes(labelled(tmp_path, one=["x"], two=["b", "a", None], three=["c", "a", "b"]))
    assert list(found) == ["three=a", "three=b", "three=c", "two=b"]
    assert len(list(measures._classes(labelled(tmp_path, most=many)))) == 12
    assert list(measures._classes(labelled(tmp_path, most=[*many, "12"]))) == []


def test_entropies_are_means_over_the_tokens_of_an_expert(store, tmp_path):
    frame = measures._entropies(str(store.path), ())
    two = -(0.75 * np.log2(0.75) + 0.25 * np.log2(0.25))  # every token here has these weights
    assert frame["score"][:6].tolist() == pytest.approx([two] * 6)
    rows = {(r.layer, r.expert): (r.score, r.n) for r in frame.itertuples()}
    assert {key: n for key, (_, n) in rows.items()} == {
        (n, (e + n) % 4): k for n in (0, 1) for e, k in enumerate((3, 2, 3, 0))
    }
    assert frame["score"][6:].isna().all()
    assert measures.weight_entropy(
        np.array([[1.0, 0.0], [2.0, 2.0], [0.0, 0.0], [1.0, 3.0]])
    ).tolist() == pytest.approx([0.0, 1.0, 0.0, two])
    note = measures.notes_of(view_of(tmp_path, store), measures.Measure(measures.ENTROPY, "", (), ""))
    assert note == ("low: its tokens give one expert all the weight; high: their experts weigh the same",)


def test_contexts_are_chips_tinted_by_weight(store, monkeypatch):
    paper = write_on(monkeypatch)
    weight = np.array([0.0, 0.75, 0.0, 2.0, 0.25, 0.0])
    card_text._chips(store, ExpertRef(0, 1), Selected(weight >= 0, weight > 0, weight), Context(1, 4, 3), "key")
    assert_drawn("context", drawn(paper))


def test_tokens_are_shown_as_chips_show_them_and_by_number_where_the_text_was_not_kept(monkeypatch):
    paper = write_on(monkeypatch, {"atlas-least": 1})
    tokens = pd.DataFrame({"token_id": [1, 2], "token": [" ", None], "prompt_id": "p", "sample": 0, "role": "user"})
    store, every = SimpleNamespace(tokens=tokens), np.array([True, True])
    card_text.tokens_of(store, Selected(every, every, every * 0.5))
    card_text._chips(store, ExpertRef(0, 1), Selected(every, every, every * 0.5), Context(0, 1, 1), "key")
    assert "dataframe <token: ['\u2423', '#2']; id: [1, 2]; selected: [1, 1];" in drawn(paper)
    assert "{text: '\u2423', tip: 'user; weight 0.500'" in paper.lines[-1]
    assert "{text: '#2 ', tip: 'user; weight 0.500'" in paper.lines[-1]


def test_contexts_are_spread_where_that_is_chosen(store, monkeypatch):
    paper, asked = write_on(monkeypatch), []
    monkeypatch.setattr(card_text, "contexts", lambda s, found, *, spread: asked.append(spread) or [])
    for which in ("largest weights", "spread over its weights"):
        paper.answers["atlas-which"] = which
        card_text.contexts_of(store, ExpertRef(0, 1), None)
    assert asked == [False, True]


def test_where_an_expert_is_selected_comes_from_tokens_of_that_kind():
    routed = np.array([True] * 130)
    hit = np.arange(130) % 2 == 0
    tokens = pd.DataFrame({"position": np.arange(130)})
    store = type("Store", (), {"tokens": tokens})()
    found = expert_facts.by_position(store, Selected(routed, hit, hit * 1.0))
    assert found["position"].tolist() == list(range(0, 130, 3))  # 130 positions in at most 60 bins
    assert found["n"].tolist() == [3] * 43 + [1]
    assert found["share"].tolist() == pytest.approx([2 / 3, 1 / 3] * 21 + [2 / 3, 0.0])
    tokens["position"] = np.r_[0:60, 0:60, 100:110] % 60
    found = expert_facts.by_position(store, Selected(routed, hit, hit * 1.0))
    assert found["position"].tolist() == list(range(60))
    routed = np.array([True, False, True])
    tokens = pd.DataFrame({"position": [0, 1, 2]})
    store = type("Store", (), {"tokens": tokens})()
    assert expert_facts.by_position(store, Selected(routed, routed, routed * 1.0)).to_numpy().tolist() == [
        [0, 1, 1],
        [2, 1, 1],
    ]


def test_contexts_come_one_a_response_and_may_be_spread():
    tokens = pd.DataFrame({"prompt_id": pd.Categorical([f"p{i // 2}" for i in range(14)]), "sample": 0})
    store = type("Store", (), {"tokens": tokens, "n_samples": 1})()
    weight = np.array([i / 20 if i % 2 else 0.0 for i in range(14)])
    chosen = Selected(weight >= 0, weight > 0, weight)
    assert [c.row for c in expert_facts.contexts(store, chosen)] == [13, 11, 9, 7, 5]
    assert [c.row for c in expert_facts.contexts(store, chosen, spread=True)] == [13, 9, 7, 5, 1]
    assert [c.row for c in expert_facts.contexts(store, chosen, spread=True, most=7)] == [13, 11, 9, 7, 5, 3, 1]
    assert expert_facts.contexts(store, chosen, most=1, around=0) == [Context(13, 13, 13)]
    tokens["prompt_id"] = pd.Categorical(["p"] * 14)
    weight[0] = 1.0
    assert expert_facts.contexts(store, Selected(weight >= 0, weight > 0, weight), around=2) == [Context(0, 2, 0)]
    tokens["sample"] = [0] * 7 + [1] * 7
    store.n_samples = 2
    assert expert_facts.contexts(store, chosen, around=3) == [Context(10, 13, 13), Context(2, 6, 5)]


def test_partners_are_at_most_twelve_the_closest_first():
    rate = np.full((14, 14), 0.1)
    rate[0] = rate[:, 0] = np.linspace(0.0, 0.65, 14)
    np.fill_diagonal(rate, 0.5)
    found = expert_facts.partners(pd.DataFrame(rate), 0)
    assert found["expert"].tolist() == list(range(13, 1, -1))
    assert found["given"].iloc[0] == pytest.approx(1.3)
    assert found["lift"].iloc[0] == pytest.approx(2.6)


# ---- layers


def test_the_layer_looked_at_is_one_of_the_layers(monkeypatch):
    paper = write_on(monkeypatch, view={"model": "tiny", "layer": "3"})
    assert [layers.current_layer(n) for n in ([1, 3], [1, 2])] == [3, 1]
    layers.layer_box([1, 3], "box", 1)
    assert layers.layer_slider([3], "one") == 3
    assert layers.layer_slider([1, 3], "two") == 3
    assert (paper.session_state["one"], paper.session_state["two"], paper.session_state["box"]) == (3, 3, 1)
    paper.session_state["box"] = 1
    layers._chosen("box")
    assert paper.session_state.view == {"model": "tiny", "layer": "1"}
    assert paper.lines == [
        "selectbox 'Layer' [1, 3] key='box' on_change=_chosen args=['box']",
        "select_slider 'Layer' [1, 3] key='two' on_change=_chosen args=['two']",
    ]


# ---- super experts


def scores(rows, **options):
    frame = pd.DataFrame(rows, columns=["layer", "expert", "score", "n", "flags", "is_shared"])
    return ExpertScores("super_experts", {"rule": "made", **options}, frame, ("note*",), "f00d")


FOUND = scores([(0, 1, 300.0, 4, "super expert", False), (2, 3, 20.0, 1000, "", False), (0, 0, 10.0, 3, "<b>", True),
                (2, 5, np.nan, 0, "dead", False)])  # fmt: skip


def test_the_whole_page_of_super_experts(tmp_path, store, monkeypatch):
    paper = write_on(monkeypatch)
    super_page.show(view_of(tmp_path, store))
    assert_drawn("super", drawn(paper).replace(str(tmp_path), ""))


def test_every_expert_is_drawn_at_its_layer_with_the_thresholds_and_the_guards(monkeypatch):
    paper = write_on(monkeypatch)
    found = Thresholds({"50 x mean": 123.456, "z": 7.0}, (0, 2), {0: 40.0, 2: 50.0})
    monkeypatch.setattr(sys.modules["probes.outputs"], "thresholds", lambda store, scores: found)
    magnitudes.magnitudes(None, FOUND)
    monkeypatch.setattr(sys.modules["probes.outputs"], "thresholds", lambda store, scores: Thresholds({}, (), {}))
    magnitudes.magnitudes(None, scores([(0, 1, 3.0, 4, "", False)]))
    assert_drawn("magnitudes", drawn(paper))


def test_the_residual_stream_is_drawn_layer_by_layer(store):
    frame = magnitudes.residual_by_layer(str(store.path), ())
    # of layer n, position i: largest 200 + i + n, median 0.25 + i / 8
    assert frame.to_numpy().tolist() == [[n, 201.0 + n, 0.3125] for n in (-1, 0, 1)]
    drawn = magnitudes.residual_figure(frame, MassiveRule(), (0, 1))
    assert_drawn("residual", figure_said(drawn))


def test_whom_to_mute_and_the_measurement_of_sinks(tmp_path, store, monkeypatch):
    paper = write_on(monkeypatch, {"sinks-run": False, "sinks-top": 2})
    view = view_of(tmp_path, store)
    sinks_panel.sinks_panel(view, FOUND)
    paper.lines.append("---- none is super: two of the largest, measured")
    plain = scores(
        [(0, 1, 300.0, 4, "", False), (1, 0, 20.0, 9, "", False), (1, 2, 10.0, 9, "", False), (1, 3, 0.0, 9, "", False)]
    )
    plain = ExpertScores("super_experts", plain.options, plain.frame, (), SHAPE.fingerprint)
    asked = []

    def measure(model, prompts, plan, step):
        step(0.5)
        asked.append((prompts, str(plan), plan.fingerprint, view.machine.turns.waiting))
        return sinks.Sinks(
            ("0", "1"), np.array([0.5, 0.25]), np.array([0.25, 0.0]), DoseCounts(4, 2, 16, 3, 0), "mute \x07"
        )

    monkeypatch.setattr(sinks, "measure", measure)
    paper.answers["sinks-run"] = True
    sinks_panel.sinks_panel(view, plain)
    assert asked == [([[0, 7], [0, 7]], "mute L0E1; mute L1E0", SHAPE.fingerprint, 1)]
    assert view.machine.turns.waiting == 0
    paper.lines.append("---- nothing to mute; and what was measured for another choice is not shown")
    paper.answers["sinks-run"] = False
    sinks_panel.sinks_panel(view, scores([(0, 1, 0.0, 4, "", False)]))
    assert_drawn("sinks", drawn(paper))
    paper.lines.clear()
    sinks_panel.sinks_panel(view, plain)
    assert [p for p in paper.lines if p.startswith("text 'Mean over layers: 37.5% base, 12.5% muted.")]
    paper.answers["sinks-n"] = 1
    paper.lines.clear()
    sinks_panel.sinks_panel(view, plain)
    assert paper.lines[-1].startswith("text 'Not measured yet")


def test_sinks_are_the_weight_on_the_first_token_of_the_queries_after_it(store, monkeypatch):
    import torch

    assert sinks.prompt_ids(store, 1) == [[0, 7]]
    monkeypatch.setattr(sinks, "LONGEST", 1)
    assert sinks.prompt_ids(store, 2) == []
    weights = torch.zeros(1, 2, 3, 3)
    weights[0, 0, :, 0] = torch.tensor([1.0, 0.5, 0.25])
    weights[0, 1, :, 0] = torch.tensor([1.0, 0.75, 0.0])
    given = []

    class HF:
        attentions = (weights, None, weights[0])

        def __call__(self, input_ids, **how):
            given.append((input_ids.tolist(), how))
            return self

    model = type("Model", (), {"hf": HF(), "device": "cpu", "anatomy": SHAPE})()
    assert sinks._shares(model, [4, 5, 6]).tolist() == [0.375]  # (0.5 + 0.25 + 0.75 + 0) / 4
    assert given == [([[4, 5, 6]], {"output_attentions": True, "use_cache": False})]
    model.hf.attentions = (None,)
    with pytest.raises(WorkbenchError, match=r"of tiny cannot be had.*\(it returned none\)"):
        sinks._shares(model, [4, 5, 6])
    with pytest.raises(WorkbenchError, match="has two tokens or more"):
        sinks.measure(model, [], Plan(), print)


def test_the_layers_of_attention_weights_have_their_numbers():
    def names(n, kinds):
        config = type("Config", (), {"layer_types": kinds, "get_text_config": lambda self: self})()
        return sinks._names(type("M", (), {"hf": type("HF", (), {"config": config})(), "anatomy": SHAPE})(), n)

    assert names(2, None) == ("0", "1")
    assert names(1, ["linear_attention", "full_attention"]) == ("1",)
    assert names(1, ["full_attention", "conv"]) == ("0",)
    assert names(1, ["mamba", "full_attention"]) == ("1",)
    assert names(1, ["full_attention", "full_attention"]) == ("attention 0",)


def test_a_measurement_is_a_mean_over_prompts_and_tells_how_far_it_is(monkeypatch):
    from contextlib import contextmanager

    inside, told = [], []

    @contextmanager
    def as_steered(model, plan, dose):
        inside.append(str(plan))
        yield
        inside.pop()

    @contextmanager
    def eager(model):
        told.append("eager")
        yield

    monkeypatch.setattr(sinks, "steered", as_steered)
    monkeypatch.setattr(sinks, "_eager", eager)
    monkeypatch.setattr(sinks, "_names", lambda model, n: ("x",) * n)
    monkeypatch.setattr(sinks, "_shares", lambda model, ids: np.array([len(ids), 10.0]) * (0.5 if inside else 1.0))
    found = sinks.measure(None, [[1, 2], [1, 2, 3, 4]], Plan.mute("L0E1"), told.append)
    assert (found.layers, found.base.tolist(), found.muted.tolist()) == (("x", "x"), [3.0, 10.0], [1.5, 5.0])
    assert (found.plan, found.dose.tokens, told) == ("mute L0E1", 0, ["eager", 0.0, 0.5])
