"""Clicks become plans, plans become code, names become files: the parts of the dashboard that need no page."""

import shlex
import threading
import time

import pytest
from streamlit.testing.v1 import AppTest
from workbench_app.cli import app
from workbench_app.dashboard.session import BUNDLED, Left, Machine, catalog_from
from workbench_app.dashboard.session.turns import Turns
from workbench_app.dashboard.steer.answering import Answering
from workbench_app.dashboard.steer.edits import Tool, as_command, as_json, as_python, toggled
from workbench_app.dashboard.widgets import escaped, token_text, visible

from tests.support import families
from workbench import ExpertRef, Plan, WorkbenchError, compare, open_store
from workbench.bundled import bundled_path
from workbench.responses import length

A, B = ExpertRef(0, 1), ExpertRef(2, 8)


def anatomy():
    return families.get("demo").anatomy


def edits_of(plan):
    return [str(e) for e in plan.edits]


def test_a_click_switches_on_and_the_same_click_off_again():
    one = toggled(Plan(), [A, B], Tool("off"), anatomy(), None)
    assert edits_of(one) == ["off L0E1", "off L2E8"]
    assert edits_of(toggled(one, [A], Tool("off"), anatomy(), None)) == ["off L2E8"]
    assert edits_of(toggled(one, [A, ExpertRef(1, 1)], Tool("off"), anatomy(), None)) == [
        "off L0E1",
        "off L1E1",
        "off L2E8",
    ]


def test_another_kind_takes_the_place_of_what_it_contradicts_and_joins_what_it_does_not():
    off = toggled(Plan(), [A], Tool("off"), anatomy(), None)
    assert edits_of(toggled(off, [A], Tool("force"), anatomy(), None)) == ["force L0E1"]
    scaled = toggled(Plan(), [A], Tool("scale", 4.0), anatomy(), None)
    assert edits_of(toggled(scaled, [A], Tool("mute"), anatomy(), None)) == ["scale L0E1=4", "mute L0E1"]
    assert edits_of(toggled(off, [B], Tool("scale", 8.0, "generated"), anatomy(), None)) == [
        "off L0E1",
        "scale L2E8=8 in generated",
    ]


def test_what_the_model_cannot_do_leaves_an_error_not_a_plan():
    with pytest.raises(WorkbenchError, match="selects 4 of 32"):
        toggled(Plan(), [ExpertRef(0, e) for e in range(30)], Tool("off"), anatomy(), None)
    with pytest.raises(WorkbenchError, match="needs a store"):
        toggled(Plan(), [A], Tool("replace"), anatomy(), None)


@pytest.mark.parametrize(
    "text", ["off L2E8; off L2E20", "scale L1E4=8 in generated; mute L0E3", "bias L0E2=-1.5; force L3E1"]
)
def test_a_copied_plan_is_the_same_plan(text, capsys):
    plan = Plan.parse(text, anatomy())
    assert Plan.from_json(as_json(plan)) == plan
    found = {}
    code = as_python(plan, "demo").split("with steered")[0].replace("load('demo')", "model")
    exec(code, {"model": families.get("demo")}, found)
    assert found["plan"] == plan
    words = shlex.split(as_command(plan, "demo", 'what\'s "this"; rm -rf /'))
    assert words[:4] == ["workbench", "steer", "demo", "--prompt"]
    assert words[4] == 'what\'s "this"; rm -rf /'
    if "--plan" not in words:
        with pytest.raises(SystemExit) as ended:
            app([*words[1:], "--tokens", "2"])
        assert ended.value.code in (0, 1)


def test_a_name_leads_to_a_store_and_a_path_to_nothing(tmp_path):
    catalog = catalog_from(["--model=demo", f"--project={tmp_path}"])
    assert set(catalog.stores()) == {*BUNDLED}
    assert anatomy().is_same(open_store(catalog.store(next(iter(BUNDLED)))).anatomy.fingerprint)
    for name in (str(bundled_path("demo-store")), "../x", "/etc/passwd", ""):
        with pytest.raises(WorkbenchError, match="has no store"):
            catalog.store(name)
    for name in ("../x", "a/b", ".hidden", "", "a b", "x" + chr(0)):
        with pytest.raises(WorkbenchError, match="cannot name a store"):
            catalog.new_store(name)
    assert catalog.new_store("mine-1") == tmp_path / "stores" / "mine-1"


def test_a_link_out_of_the_project_is_not_listed(tmp_path):
    (tmp_path / "stores").mkdir()
    (tmp_path / "stores" / "away").symlink_to(bundled_path("demo-store"))
    assert set(catalog_from([f"--project={tmp_path}"]).stores()) == {*BUNDLED}


def test_text_is_text():
    assert escaped("**b** <i>") == "\\*\\*b\\*\\* \\<i\\>"
    assert "\u202e" not in visible("a\u202eb")
    assert token_text("\n") == "\u23ce"
    assert token_text(" ") == "\u2423"
    assert token_text("\xa0 ") == "\u237d\u2423"


def test_turns_are_taken_in_order_and_who_leaves_is_passed_over():
    turns, order, gone = Turns(), [], threading.Event()

    def work(name, has_left=lambda: False):
        try:
            with turns.turn(name, has_left):
                order.append(name)
                time.sleep(0.02)
        except Left:
            order.append(f"{name} left")

    with turns.turn("first"):
        threads = []
        for name in ("a", "b", "c"):
            threads.append(threading.Thread(target=work, args=(name, gone.is_set if name == "b" else lambda: False)))
            threads[-1].start()
            while turns.place(name) is None:
                time.sleep(0.001)
        assert [turns.place(n) for n in ("first", "a", "b", "c")] == [0, 1, 2, 3]
        gone.set()
        threads[1].join()
        assert turns.place("c") == 2
    for thread in threads:
        thread.join()
    assert order == ["b left", "a", "c"]
    assert turns.waiting == 0


def test_eight_answers_at_once_are_those_of_their_own_plans():
    model = families.get("demo")
    machine, question = Machine(model), "what happened in 1979 in Banke?"
    plans = [Plan.off([(layer, e)]) for layer in range(4) for e in (8, 20)]
    plans = [p.for_model(model.anatomy) for p in plans]
    running = [Answering(machine, question, p, 24).start() for p in plans]
    while any(a.is_active for a in running):
        for one in running:
            one.look()
        time.sleep(0.01)
    for plan, one in zip(plans, running, strict=True):
        said = compare(
            model,
            [{"prompt": question}],
            plan,
            metrics={"length": length},
            controls=0,
            max_new_tokens=24,
            progress=False,
        )
        row = said.responses.iloc[0]
        assert (one.state, one.text("base"), one.text("steered")) == ("done", row["base"], row["steered"])


def finished(one):
    while one.is_active:
        one.look()
        time.sleep(0.01)
    assert one.state == "done", one.error
    return one


def test_the_same_question_under_another_plan_has_that_plans_answer_and_dose_alone():
    model = families.get("demo")
    machine, question = Machine(model), "what happened in 1979 in Banke?"
    wide = Plan.off([(layer, e) for layer in range(4) for e in (8, 20, 5)]).for_model(model.anatomy)
    narrow = Plan.off([(2, 8)]).for_model(model.anatomy)
    first = finished(Answering(machine, question, wide, 12).start())
    second = finished(first.again(narrow).start())
    alone = finished(Answering(machine, question, narrow, 12).start())
    assert second.dose.counts() == alone.dose.counts() != first.dose.counts()
    assert second.text("steered") == alone.text("steered")
    assert (second.plan, second.number, second.text("base")) == (narrow, first.number, first.text("base"))
    # by hand: every forwarded token has top-k slots in each of 4 layers; nothing of the first plan is counted
    steps = len(families.get("demo").tokenizer.apply_chat_template([{"role": "user", "content": question}],
        add_generation_prompt=True, return_dict=True)["input_ids"]) + len(second.steered) - 1  # fmt: skip
    top_k = model.anatomy.layer(2).top_k
    assert (second.dose.counts().tokens, second.dose.counts().slots) == (steps, 4 * steps * top_k)


def test_the_caption_of_a_steered_answer_is_its_own_plan():
    """Not the plan on the page, which may have changed since, and not that of the question asked last."""

    def page():
        import streamlit as st
        from workbench_app.dashboard.steer.answers_panel import answers_panel

        answers_panel(st.session_state["made"])

    machine = Machine(families.get("demo"))
    made = [finished(Answering(machine, "hello", Plan.off([ref]), 3).start()) for ref in (A, B)]
    shown = AppTest.from_function(page)
    shown.session_state["made"] = made
    shown.session_state["plan"] = Plan.mute([ExpertRef(1, 7)])
    captions = [c.value.replace("\\", "") for c in shown.run().caption]
    expected = []
    for one, ref in ((made[1], B), (made[0], A)):  # the newest first
        expected += [
            f"base ({len(one.tokens('base'))} tokens)",
            f"steered ({len(one.tokens('steered'))} tokens): off {ref}",
        ]
    assert captions == expected


def test_an_answer_nobody_looks_at_frees_the_model(monkeypatch):
    from workbench_app.dashboard.steer import answering

    monkeypatch.setattr(answering, "FORGOTTEN_SECONDS", 0.0)
    machine = Machine(families.get("demo"))
    one = Answering(machine, "calculate 432 + 497?", Plan.off([A]), 400).start()
    end = time.monotonic() + 20
    while one.is_active and time.monotonic() < end:
        time.sleep(0.01)
    assert one.state == "stopped"
    assert machine.turns.waiting == 0
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in machine.model.hf.modules())


def test_an_error_that_nobody_foresaw_is_a_sentence_on_the_page_and_a_traceback_in_the_log(caplog):
    def page():
        from workbench_app.dashboard.session import sentences

        with sentences():
            raise ValueError("an inner detail")

    shown = AppTest.from_function(page).run()
    assert not shown.exception
    assert "This page failed" in shown.error[0].value
    assert "inner detail" not in shown.error[0].value
    assert "ValueError: an inner detail" in caplog.text
    assert "Traceback" in caplog.text
