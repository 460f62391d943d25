"""What the panel measures of a store's prompts, and how it says who waits."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from workbench_app.dashboard.super_experts import page as super_page
from workbench_app.dashboard.super_experts import sinks_panel

from tests.app.paper import write_on
from tests.app.world import view_of
from workbench import Plan, WorkbenchError
from workbench.comparison.sinks import SinksByPrompt


def test_a_store_without_magnitudes_is_one_sentence_on_the_page(tmp_path, store, monkeypatch):
    paper = write_on(monkeypatch)

    def refuse(*_, **__):
        raise WorkbenchError("no *norms*")

    monkeypatch.setattr(super_page, "scores_of", refuse)
    super_page.show(view_of(tmp_path, store))
    assert paper.lines[-1] == "error 'no \\\\*norms\\\\*' icon=':material/error:'"
    assert not [line for line in paper.lines if line.startswith("chart")]


def test_prompts_of_a_store_without_text_are_unknown():
    tokens = pd.DataFrame({"token_id": [None, None], "prompt_id": "a", "sample": 0})
    with pytest.raises(WorkbenchError, match="captured without text, so its prompts are unknown; choose another store"):
        sinks_panel.prompt_ids(SimpleNamespace(tokens=tokens), 1)


def test_prompts_to_measure_are_the_first_samples_prompt_tokens_cut_to_the_longest():
    rows = [(p, s, i, 10 * i + s) for p in "abc" for s in (0, 1) for i in range({"a": 3, "b": 140, "c": 2}[p])]
    tokens = pd.DataFrame(rows, columns=["prompt_id", "sample", "position", "token_id"])
    prompts = pd.DataFrame({"prompt_id": list("abc"), "n_tokens": [2, 139, 1]})
    store = SimpleNamespace(tokens=tokens, prompts=prompts, prompt_ids=("b", "a", "c"))
    assert sinks_panel.prompt_ids(store, 3) == [
        [10 * i for i in range(128)],
        [0, 10],
    ]  # one token alone has no query after it
    assert sinks_panel.prompt_ids(store, 1) == [[10 * i for i in range(128)]]


def test_who_measures_sees_the_place_in_the_queue(tmp_path, store, monkeypatch):
    paper, look = write_on(monkeypatch), view_of(tmp_path, store)
    before = object()
    look.machine.turns.queue.append(before)

    def wait(seconds):
        look.machine.turns.queue[:] = (
            [t for t in look.machine.turns.queue if t is not before]
            if len(paper.lines) > 1
            else look.machine.turns.queue
        )

    monkeypatch.setattr(look.machine.turns.changed, "wait", wait)
    monkeypatch.setattr(sinks_panel, "measured", lambda *_: "measured")
    assert sinks_panel.measured_sinks(look, Plan.mute("L0E1"), 2) == "measured"
    assert paper.lines == [
        "progress 0 'Waiting for the model ...'", "progress| progress 0 'Waiting for the model, place 1 ...'",
        "progress| progress 0 'Waiting for the model, place 0 ...'", "progress| empty",
    ]  # fmt: skip


def test_both_readings_are_told_as_one_and_the_dose_is_the_plans(monkeypatch):
    told = []

    def sinks_of(model, rows, plan=None, *, dose=None, step):
        assert (dose is None) == (plan is None)
        for _ in rows:
            step(1)
        return SinksByPrompt((3,), np.full((2, 1, 2), 0.25 if plan else 0.5), np.array([1, 3]))

    monkeypatch.setattr(sinks_panel, "sinks_of", sinks_of)
    found = sinks_panel.measured(None, [[1, 2], [1, 2, 3, 4]], Plan.mute("L0E1"), told.append)
    assert (found.base.by_layer(), found.muted.by_layer()) == ({3: 0.5}, {3: 0.25})
    assert (found.plan, found.dose.tokens, told) == ("mute L0E1", 0, [0.25, 0.5, 0.75, 1.0])
