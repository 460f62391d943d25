"""Small parts of the dashboard: what a store offers, edits of a click, marks that hide, attention that is put back."""

import threading
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from workbench_app.dashboard.questions import measures, offers
from workbench_app.dashboard.rankings import page as probes_page
from workbench_app.dashboard.session import BUNDLED, Catalog, view, who
from workbench_app.dashboard.steer import answering, edits, token_card
from workbench_app.dashboard.steer.answering import Answering
from workbench_app.dashboard.steer.edits import Tool
from workbench_app.dashboard.super_experts import page as super_page
from workbench_app.dashboard.super_experts import sinks, sinks_panel
from workbench_app.dashboard.texts import trace
from workbench_app.dashboard.widgets import literal
from workbench_app.dashboard.widgets import ranking_table as ranked_table

from tests.app.paper import said, write_on
from tests.app.world import SHAPE, store_at, token, view_of
from workbench import ExpertRef, Plan, WorkbenchError
from workbench.anatomy import Anatomy, LayerAnatomy
from workbench.store import write_store
from workbench.thinking import PAIRS


@pytest.fixture
def store(tmp_path):
    return store_at(tmp_path / "stores" / "one")


# ---- offers


def test_labels_that_tell_prompts_apart_come_first_and_texts_are_left_out():
    values = {"b": ["no", "yes", None], "a": ["x", "y"], "one": ["same"], "few": [f"{i:02}" for i in range(24)],
              "text": [str(i) for i in range(25)]}  # fmt: skip
    rows = [("p", name, v) for name, given in values.items() for v in given] + [("q", "b", "no")]
    made = SimpleNamespace(labels=pd.DataFrame(rows, columns=["prompt_id", "name", "value"]))
    few = [("few", f"{i:02}") for i in range(23, -1, -1)]
    assert offers._few_valued(made) == [("a", "y"), ("a", "x"), ("b", "yes"), ("b", "no"), *few, ("one", "same")]


@pytest.mark.parametrize(
    ("role", "text", "at", "thinks"),
    [
        ("think", PAIRS[0].open, 2, True),
        ("think", "4", 2, False),
        ("assistant", PAIRS[0].open, 2, False),
        ("think", PAIRS[0].open, 1, False),
    ],
)
def test_a_store_thinks_where_a_thought_was_said(tmp_path, role, text, at, thinks):
    shape = Anatomy("tiny", "x", 8, 9, f"w{role}{text}{at}", (LayerAnatomy(0, 2, 1),))
    tokens = pd.DataFrame({"prompt_id": "p", "sample": 0, "position": range(3), "token_id": 1, "token": ["a", None, "c"],
                           "role": "user", "generated": [False, False, True]})  # fmt: skip
    tokens.loc[at, ["role", "token"]] = [role, f" {text}\n"]
    slots = pd.DataFrame(
        {"prompt_id": "p", "sample": 0, "position": range(3), "layer": 0, "slot": 0, "expert": 0, "weight": 1.0}
    )
    prompts = pd.DataFrame({"prompt_id": ["p"], "text": "t", "n_tokens": 2, "split": "heldout"})
    write_store(tmp_path / "s", shape, {"prompts": prompts, "tokens": tokens, "slots": slots})
    found = offers.offer(tmp_path / "s")
    assert found == offers.Offer(
        ("refused", "answered") if role == "assistant" else (), ("split=heldout",), ("user", role), thinks
    )


# ---- edits


def test_a_click_that_replaces_needs_outputs_and_takes_their_mean():
    with pytest.raises(
        WorkbenchError, match="replace needs a store with outputs of these experts; capture one with keep=outputs"
    ):
        Tool("replace").plan([ExpertRef(0, 1)], None)
    means = SimpleNamespace(mean_output=lambda ref: np.array([1.0, 2.0 + ref.expert]).tolist())
    found = Tool("replace", phase="prompt").plan([ExpertRef(0, 1)], means)
    assert (found.edits[0].kind, list(found.edits[0].value), found.edits[0].scope.phase) == (
        "replace",
        [1.0, 3.0],
        "prompt",
    )
    assert str(Tool("bias", 3.0, "generated").plan([ExpertRef(0, 1)], None)) == "bias L0E1=3 in generated"
    assert str(Tool("scale").plan([ExpertRef(0, 1)], None)) == "scale L0E1=1"


def edits_of(plan):
    return {str(edit) for edit in plan.edits}


def test_a_click_takes_away_what_all_have_and_switches_the_others():
    a, b, off = ExpertRef(0, 1), ExpertRef(1, 2), Tool("off")
    both = edits.toggled(Plan.parse("mute L0E1"), [a, b], off, SHAPE, None)
    assert edits_of(both) == {"mute L0E1", "off L0E1", "off L1E2"}
    assert edits_of(edits.toggled(both, [a, b], off, SHAPE, None)) == {"mute L0E1"}
    assert edits_of(edits.toggled(both, [b], off, SHAPE, None)) == {"mute L0E1", "off L0E1"}
    assert edits_of(edits.toggled(both, [a], Tool("force"), SHAPE, None)) == {"mute L0E1", "off L1E2", "force L0E1"}
    forced = Plan.parse("force L0E1; scale L0E1=2")
    assert edits_of(edits.toggled(forced, [a], off, SHAPE, None)) == {"scale L0E1=2", "off L0E1"}
    assert edits_of(edits.toggled(forced, [a], Tool("scale", 3.0), SHAPE, None)) == {"force L0E1"}
    assert both.fingerprint == SHAPE.fingerprint
    assert edits.without(both, both.edits[:1]).fingerprint == SHAPE.fingerprint


def test_a_plan_is_a_command_where_every_edit_has_an_option():
    scoped = Plan.parse("off L0E1 in prompt")
    everywhere = Plan.parse("off L0E1,L1E2; scale L0E3=0.5")
    assert (
        edits.as_command(everywhere, "m", "") == "workbench steer m --prompt ... --off L0E1 --scale L0E3=0.5 --off L1E2"
    )
    assert edits.as_command(scoped, "m", "a b", raw=True) == "workbench steer m --prompt 'a b' --raw --plan plan.json"
    replaced = Plan.replace([ExpertRef(0, 1)], "mean")
    assert edits.as_command(replaced, "m", "q") == "workbench steer m --prompt q --plan plan.json"


# ---- text


def test_marks_that_hide_or_turn_text_are_shown():
    hidden = [*range(0x200B, 0x2010), *range(0x2028, 0x202F), *range(0x2060, 0x2070), 0xFEFF]
    beside = [0x200A, 0x2010, 0x2027, 0x202F, 0x205F, 0x2070, 0xFEFE, 0xFF00]
    assert literal.visible("".join(map(chr, hidden))) == "\u2426" * len(hidden)
    assert literal.visible("".join(map(chr, beside))) == "".join(map(chr, beside))
    assert literal.escaped("a*_[b](c)\x07") == "a\\*\\_\\[b\\]\\(c\\)\u2407"
    shown = {" ": "\u2423", "\n": "\u23ce", "\t ": "\u21e5\u2423", "": "\u2205", " a\n": " a\n"}
    assert {text: literal.token_text(text) for text in shown} == shown


# ---- sessions


def test_a_session_is_there_while_its_tab_is(monkeypatch):
    monkeypatch.setattr(who, "get_script_run_ctx", lambda: None)
    assert who.session() == ""
    monkeypatch.setattr(who, "get_script_run_ctx", lambda: SimpleNamespace(session_id="me"))
    assert who.session() == "me"
    active = SimpleNamespace(is_active_session=lambda one: one == "tab")
    monkeypatch.setattr(who, "runtime", SimpleNamespace(exists=lambda: False, get_instance=lambda: active))
    assert [who.is_there(one) for one in ("me", "tab", "gone")] == [True, False, False]
    who.runtime.exists = lambda: True
    assert [who.is_there(one) for one in ("me", "tab", "gone")] == [True, True, False]


def test_an_answer_starts_on_a_thread_that_ends_with_the_server(tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr(
        threading.Thread, "start", lambda self: started.append((self._target.__name__, self.daemon, self.name))
    )
    one = Answering(view_of(tmp_path).machine, "q", Plan(), 3)
    assert one.start() is one
    assert started == [("_run", True, "answer")]
    assert one._started > 0
    assert (one.base_is_known, one.stopping, one.state, one.first_token_seconds) == (False, False, "waiting", None)
    assert Answering(one.machine, "q", Plan(), 3).number == one.number + 1


def test_the_text_of_an_answer_is_decoded_after_its_prompt(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        answering, "encode_all", lambda model, prompts, n: (asked.append((prompts.prompts[0], n)), [[7, 8]])[1]
    )
    monkeypatch.setattr(answering, "decode", lambda model, ids, after: (ids, after))
    one = Answering(view_of(tmp_path).machine, "q", Plan(), 3, [token(1), token(2), token(0, end=True)], [token(3)])
    assert [one.text(side) for side in ("base", "steered")] == [([1, 2], [7, 8]), ([3], [7, 8])]
    assert asked[0][1] == 0
    assert asked[0][0].messages == ({"role": "user", "content": "q"},)
    assert answering.asked_once("q").prompts[0].messages == ({"role": "user", "content": "q"},)
    assert answering.asked_once("q", as_chat=False).prompts[0].text == "q"


# ---- sentences where something is missing


def test_the_card_says_where_both_answers_had_parted(tmp_path, monkeypatch):
    paper = write_on(monkeypatch, token=(5, "base", 1))
    base, steered = [token(1), token(2)], [token(3), token(2)]
    parted = (
        "container| caption 'The answers had already parted before this token, so both sides read different text here.'"
    )
    one = Answering(view_of(tmp_path).machine, "q", Plan.parse("off L0E1"), 3, base, steered, number=5)
    token_card.token_card([one])
    assert parted in paper.lines
    for same in (
        Answering(one.machine, "q", one.plan, 3, base, base, number=5),
        Answering(one.machine, "q", Plan(), 3, base, steered, number=5),
    ):
        paper.lines.clear()
        token_card.token_card([same])
        assert paper.lines
        assert parted not in paper.lines


def test_a_second_probe_is_asked_for_and_downloads_are_the_librarys(tmp_path, monkeypatch):
    paper = write_on(monkeypatch)
    probes_page._compare(None, None, [1])
    assert paper.lines == [
        "text 'Run a second probe, or this one with other options; it can then be compared with this answer.'"
    ]
    written = SimpleNamespace(
        to_csv=lambda path: path.write_text(f"csv {path.name}"), to_parquet=lambda path: path.write_text("parquet")
    )
    assert ranked_table.as_file(written, "csv") == b"csv scores.csv"
    assert ranked_table.as_file(written, "parquet") == b"parquet"


def test_a_store_without_magnitudes_is_one_sentence_on_the_page(tmp_path, store, monkeypatch):
    paper = write_on(monkeypatch)

    def refuse(*_, **__):
        raise WorkbenchError("no *norms*")

    monkeypatch.setattr(super_page, "scores_of", refuse)
    super_page.show(view_of(tmp_path, store))
    assert paper.lines[-1] == "error 'no \\\\*norms\\\\*' icon=':material/error:'"
    assert len(paper.lines) == 4


def test_entropies_are_a_measure_like_the_others(tmp_path, store):
    look = view_of(tmp_path, store)
    found = measures.values_of(look, measures.Measure(measures.ENTROPY, "", (), ""))
    assert found.columns.tolist() == ["layer", "expert", "score", "n"]
    largest = measures.values_of(look, measures.Measure("x", "super_experts", (), ""))
    assert len(largest) == 8  # none of them shared
    assert measures.notes_of(look, measures.Measure("x", "usage", (), ""))[0] == "4 tokens of 2 responses read"


def test_stores_of_the_model_are_listed_the_bundled_first_and_broken_ones_left_out(tmp_path, monkeypatch):
    made = {"a": "same", "bad": None, "b": "other", BUNDLED: "same", "gone": OSError}

    def at(path):
        if path == "gone":
            raise OSError
        if made[path] is None:
            raise WorkbenchError("broken")
        return SimpleNamespace(anatomy=SimpleNamespace(fingerprint=made[path]))

    monkeypatch.setattr(view, "store_at", at)
    monkeypatch.setattr(Catalog, "stores", lambda self: {name: name for name in made})
    anatomy = SimpleNamespace(is_same=lambda fingerprint: fingerprint == "same")
    assert list(view.fitting_stores(Catalog({}, {}, tmp_path), anatomy)) == [BUNDLED, "a"]


# ---- attention sinks


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


def test_what_was_recorded_becomes_numbers():
    parts = {
        "index": torch.tensor([[1]]),
        "weight": torch.tensor([[0.5]], dtype=torch.bfloat16),
        "output_l2": torch.tensor([[2.0]]),
        "output_max_abs": torch.tensor([[3.0]]),
    }
    found = trace._recorded(SimpleNamespace(**parts))
    assert [part.tolist() for part in found] == [[[1]], [[0.5]], [[2.0]], [[3.0]]]
    assert found.expert.dtype == np.int64
    assert said(trace.Trace(("a",), ("user",), 1, {0: found}).at(0, 0)) == "[[1, 0.5, 2, 3]]"
