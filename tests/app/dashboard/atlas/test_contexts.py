"""The texts around an expert's tokens: as chips, spread over responses, by the kind of token; and its closest partners."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from workbench_app.dashboard.atlas import card_text
from workbench_app.experts import facts as expert_facts
from workbench_app.experts.facts import Context, Selected

from tests.app.paper import assert_drawn, drawn, write_on
from workbench import ExpertRef


def test_contexts_are_chips_tinted_by_weight(store, monkeypatch):
    paper = write_on(monkeypatch)
    weight = np.array([0.0, 0.75, 0.0, 2.0, 0.25, 0.0])
    card_text.context_chips(store, ExpertRef(0, 1), Selected(weight >= 0, weight > 0, weight), Context(1, 4, 3), "key")
    assert_drawn("context", drawn(paper))


def test_tokens_are_shown_as_chips_show_them_and_by_number_where_the_text_was_not_kept(monkeypatch):
    paper = write_on(monkeypatch, {"atlas-least": 1})
    tokens = pd.DataFrame({"token_id": [1, 2], "token": [" ", None], "prompt_id": "p", "sample": 0, "role": "user"})
    store, every = SimpleNamespace(tokens=tokens), np.array([True, True])
    card_text.tokens_of(store, Selected(every, every, every * 0.5))
    card_text.context_chips(store, ExpertRef(0, 1), Selected(every, every, every * 0.5), Context(0, 1, 1), "key")
    assert "dataframe <token: ['\u2423', '#2']; id: [1, 2]; selected: [1, 1];" in drawn(paper)
    assert "{text: ' ', tip: 'user; weight 0.500'" in paper.lines[-1]
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
    pairs = pd.DataFrame({"expert": 0, "other_expert": range(1, 14), "share": np.linspace(0.02, 0.26, 13)})
    pairs = pairs.assign(n=range(1, 14), expected=0.13, lift=pairs["share"] / 0.13)
    found = expert_facts.partners(pairs, 0, 0.5)
    assert found["expert"].tolist() == list(range(13, 1, -1))
    assert found.iloc[0].tolist() == pytest.approx([13, 0.52, 0.26, 2.0])


def test_the_words_of_a_card_are_those_that_were_said_and_the_templates_on_request(monkeypatch):
    roles = ["template", "special", "user", "user"]
    tokens = pd.DataFrame(
        {"token_id": [1, 2, 3, 4], "token": list("abcd"), "prompt_id": "p", "sample": 0, "role": roles}
    )
    store, hit = SimpleNamespace(tokens=tokens), np.array([True, True, True, False])
    found, read = Selected(hit | True, hit, hit * 1.0), []
    monkeypatch.setattr(card_text, "tokens_of", lambda _, which: read.append(which.routed.tolist()))
    monkeypatch.setattr(card_text, "contexts_of", lambda _, ref, which: read.append(which.hit.tolist()))
    paper = write_on(monkeypatch, {"atlas-template": False})
    card_text.words_of(store, ExpertRef(0, 1), found)
    assert read == [[False, False, True, True], [False, False, True, False]]
    assert "2 of the 3 tokens that select it are the chat template's or special" in drawn(paper)
    paper.answers["atlas-template"] = True
    card_text.words_of(store, ExpertRef(0, 1), found)
    assert read[2:] == [[True] * 4, hit.tolist()]
    paper.answers["atlas-template"], alone = False, np.array([True, True, False, False])
    card_text.words_of(store, ExpertRef(0, 1), Selected(hit | True, alone, alone * 1.0))
    assert "Only the chat template's and special tokens select L0E1" in drawn(paper)
    assert len(read) == 4
