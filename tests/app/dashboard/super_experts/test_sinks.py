"""Attention to the first token: eager while it is measured, put back afterwards, and who waits for it."""

from types import SimpleNamespace

import pandas as pd
import pytest
from workbench_app.dashboard.super_experts import page as super_page
from workbench_app.dashboard.super_experts import sinks, sinks_panel

from tests.app.paper import write_on
from tests.app.world import SHAPE, view_of
from workbench import Plan, WorkbenchError


def test_a_store_without_magnitudes_is_one_sentence_on_the_page(tmp_path, store, monkeypatch):
    paper = write_on(monkeypatch)

    def refuse(*_, **__):
        raise WorkbenchError("no *norms*")

    monkeypatch.setattr(super_page, "scores_of", refuse)
    super_page.show(view_of(tmp_path, store))
    assert paper.lines[-1] == "error 'no \\\\*norms\\\\*' icon=':material/error:'"
    assert len(paper.lines) == 4


class Attending:
    """A model of two parts that each have an attention of their own."""

    def __init__(self, error=None):
        text, image = SimpleNamespace(_attn_implementation="sdpa"), SimpleNamespace(_attn_implementation="flash")
        self.config = SimpleNamespace(
            _attn_implementation="sdpa", sub_configs={"text": 0, "image": 0, "none": 0}, text=text, image=image
        )
        self.error, self.told = error, []

    def set_attn_implementation(self, name):
        self.told.append(name)
        if self.error:
            raise self.error
        parts = name if isinstance(name, dict) else dict.fromkeys(("", "text", "image"), name)
        for part, value in parts.items():
            (getattr(self.config, part) if part else self.config)._attn_implementation = value


def test_attention_is_eager_inside_and_what_it_was_outside():
    hf = Attending()
    model = SimpleNamespace(hf=hf, anatomy=SHAPE)
    before = {"": "sdpa", "text": "sdpa", "image": "flash"}
    with sinks._eager(model):
        assert sinks._implementations(hf.config) == dict.fromkeys(before, "eager")
    assert hf.told == ["eager", before]
    hf.told.clear()
    hf.set_attn_implementation("eager")
    with sinks._eager(model):
        pass
    assert hf.told == ["eager", "eager"]  # it was eager: nothing to put back
    with (
        pytest.raises(WorkbenchError, match=r"The attention weights of tiny cannot be had.*\(ValueError\)\."),
        sinks._eager(SimpleNamespace(hf=Attending(ValueError()), anatomy=SHAPE)),
    ):
        pass


def test_prompts_of_a_store_without_text_are_unknown():
    tokens = pd.DataFrame({"token_id": [None, None], "prompt_id": "a", "sample": 0})
    with pytest.raises(WorkbenchError, match="captured without text, so its prompts are unknown; choose another store"):
        sinks.prompt_ids(SimpleNamespace(tokens=tokens), 1)


def test_prompts_to_measure_are_the_first_samples_prompt_tokens_cut_to_the_longest():
    rows = [(p, s, i, 10 * i + s) for p in "abc" for s in (0, 1) for i in range({"a": 3, "b": 140, "c": 2}[p])]
    tokens = pd.DataFrame(rows, columns=["prompt_id", "sample", "position", "token_id"])
    prompts = pd.DataFrame({"prompt_id": list("abc"), "n_tokens": [2, 139, 1]})
    store = SimpleNamespace(tokens=tokens, prompts=prompts, prompt_ids=("b", "a", "c"))
    assert sinks.prompt_ids(store, 3) == [
        [10 * i for i in range(128)],
        [0, 10],
    ]  # one token alone has no query after it
    assert sinks.prompt_ids(store, 1) == [[10 * i for i in range(128)]]


def test_who_measures_sees_the_place_in_the_queue(tmp_path, store, monkeypatch):
    paper, look = write_on(monkeypatch), view_of(tmp_path, store)
    before = object()
    look.machine.turns._queue.append(before)

    def wait(seconds):
        look.machine.turns._queue[:] = (
            [t for t in look.machine.turns._queue if t is not before]
            if len(paper.lines) > 1
            else look.machine.turns._queue
        )

    monkeypatch.setattr(look.machine.turns._changed, "wait", wait)
    monkeypatch.setattr(sinks, "measure", lambda *_: "measured")
    assert sinks_panel._measured(look, Plan.mute("L0E1"), 2) == "measured"
    assert paper.lines == [
        "progress 0 'Waiting for the model ...'", "progress| progress 0 'Waiting for the model, place 1 ...'",
        "progress| progress 0 'Waiting for the model, place 0 ...'", "progress| empty",
    ]  # fmt: skip
