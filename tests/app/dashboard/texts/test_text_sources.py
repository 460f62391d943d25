"""Where a text comes from: found in a store by its words, or typed and read under a plan."""

import math

import numpy as np
import pandas as pd
from workbench_app.dashboard.texts import text_sources, trace

from tests.app.dashboard.texts.made import LAYERS, text_of
from tests.app.paper import assert_drawn, drawn, write_on
from tests.app.world import view_of
from workbench import Plan
from workbench.routing import DoseCounts


def test_a_stored_text_is_found_by_its_words(store, monkeypatch):
    paper = write_on(monkeypatch)
    found, name = text_sources.stored_text(store)
    assert (name, found.tokens) == ("a, sample 0", (" in", "<b>", "!"))
    for wanted, kept in (("SECOND", "b"), ("B", "b"), ("c", "b")):
        paper.answers["tokens-find"] = wanted
        assert text_sources.stored_text(store)[1] == f"{kept}, sample 0"
    paper.answers["tokens-find"] = "none"
    assert text_sources.stored_text(store) is None
    assert_drawn("stored_text", drawn(paper))


def test_only_so_many_prompts_are_listed(store, monkeypatch):
    paper = write_on(monkeypatch)
    many = pd.DataFrame({"prompt_id": [f"p{i:03}" for i in range(1201)], "text": ["x" * 81] + [None] * 1200})
    some = type("Store", (), {"prompts": many, "n_samples": 3, "path": store.path})()
    monkeypatch.setattr(text_sources, "read_stored", lambda path, now, prompt, sample: (prompt, sample))
    paper.answers["tokens-sample"] = 2
    assert text_sources.stored_text(some) == (("p000", 2), "p000, sample 2")
    listed = next(p for p in paper.lines if "selectbox" in p)
    assert listed.startswith(f"1| selectbox 'Prompt' ['p000: {'x' * 80}', 'p001: ', ")
    assert listed.endswith("'p199: '] key='tokens-prompt'")
    assert paper.lines[-2:] == [
        "caption 'The first 200 of 1,201 prompts are listed; find others by their text.'",
        "number_input 'Sample' 0 2 0 key='tokens-sample'",
    ]
    paper.lines.clear()
    some.prompts = many[:200]
    text_sources.stored_text(some)
    assert not [p for p in paper.lines if p.startswith("caption")]


def test_a_typed_text_is_read_in_turn_and_under_the_plan_asked_for(tmp_path, monkeypatch):
    paper = write_on(monkeypatch, plan=Plan.parse("off L0E1"))
    view, asked = view_of(tmp_path), []

    def read(model, prompt, *, as_chat, plan):
        asked.append((model is view.machine.model, prompt, as_chat, plan, view.machine.turns.waiting))
        return text_of(LAYERS, dose=DoseCounts(4, 2 * bool(plan), 16, 3, 0) if plan else None)

    monkeypatch.setattr(text_sources, "typed_trace", read)
    assert text_sources.typed_text(view) is None
    paper.answers.update({"tokens-typed": "why?", "Read it": True})
    assert text_sources.typed_text(view)[1] == "your prompt"
    paper.answers["tokens-steered"] = True
    assert text_sources.typed_text(view)[1] == "your prompt under off L0E1"
    assert asked == [(True, "why?", True, None, 1), (True, "why?", True, Plan.parse("off L0E1"), 1)]
    paper.answers["Read it"] = False
    assert text_sources.typed_text(view)[0] == text_of(LAYERS, dose=DoseCounts(4, 2, 16, 3, 0))
    assert text_sources.typed_text(view_of(tmp_path, name="other", template=None)) is None
    paper.session_state.plan = Plan()
    paper.answers["Read it"] = True
    assert text_sources.typed_text(view)[1] == "your prompt"
    paper.answers["tokens-typed"] = ""
    text_sources.typed_text(view)
    assert len(asked) == 3
    text_sources.said_words(text_of(LAYERS, dose=DoseCounts(4, 0, 16, 0, 0)), "off *\x07*")
    assert_drawn("typed_text", drawn(paper))


def test_a_stored_sample_is_read_slot_by_slot(store):
    found = trace.stored_trace(store, "b", 0)
    assert (found.tokens, found.roles, found.n_prompt) == ((" in", "<b>", "!"), ("user", "user", "assistant"), 2)
    assert found.at(0, 0) == [(1, 0.75, 20.0, 200.0), (2, 0.25, 30.0, 300.0)]
    assert found.at(1, 1) == [(3, 0.75, 31.0, 300.0), (1, 0.25, 11.0, 100.0)]
    assert found.at(0, 2) == []
    assert np.isnan(found.layers[0].l2[2]).all()
    assert found.layers[0].weight[2].tolist() == [0.0, 0.0]
    assert math.isclose(found.layers[1].expert[2].sum(), -2)


def test_a_prompt_is_listed_by_what_differs_also_where_it_is_the_only_one_found(store, monkeypatch):
    paper = write_on(monkeypatch, {"tokens-find": "rice"})
    texts = [f"system: You are helpful. user: {asked}" for asked in ("what is bread", "who boils rice")]
    prompts = pd.DataFrame({"prompt_id": ["p0", "p1"], "text": texts})
    some = type("Store", (), {"prompts": prompts, "n_samples": 1, "path": store.path})()
    monkeypatch.setattr(text_sources, "read_stored", lambda path, now, prompt, sample: (prompt, sample))
    assert text_sources.stored_text(some) == (("p1", 0), "p1, sample 0")
    assert any("selectbox 'Prompt' ['p1: … who boils rice']" in line for line in paper.lines)
