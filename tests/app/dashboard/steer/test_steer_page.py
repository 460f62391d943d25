"""The Steer page, driven without a browser: questions, plans, quick picks, and what goes wrong."""

import time
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from tests.support import families
from workbench import ExpertRef, Plan, compare
from workbench.responses import length

PAGE = Path(__file__).parents[4] / "app" / "page.py"
REFUSED = "what happened in 1979 in Banke?"


def page_of(source, monkeypatch, tmp_path, **query):
    monkeypatch.setattr("sys.argv", [str(PAGE), f"--model={source}", f"--project={tmp_path}"])
    page = AppTest.from_file(str(PAGE), default_timeout=120)
    for name, value in query.items():
        page.query_params[name] = value
    return page.run()


def finished(page):
    """The page when no answer is running any more."""
    end = time.monotonic() + 60
    while any(one.is_active for one in page.session_state["asked"]):
        assert time.monotonic() < end, "the answer does not end"
        time.sleep(0.1)
        page.run()
    return page.run()


def texts(page):
    return [t.value for t in page.text]


def errors(page):
    return [e.value.replace("\\", "") for e in page.error]


def expected(source, question, plan):
    model = families.get(source.removeprefix("tiny/"))
    asked = [{"prompt": question}]
    found = compare(model, asked, plan, metrics={"length": length}, controls=0, max_new_tokens=64, progress=False)
    return found.responses.iloc[0]


@pytest.fixture
def demo(monkeypatch, tmp_path):
    return page_of("demo", monkeypatch, tmp_path)


def test_two_clicks_from_a_refusal_to_another_answer_and_the_experts_that_did_it(demo):
    assert not demo.exception
    finished(demo.button(key=f"example-{REFUSED}").click().run())
    first = demo.session_state["asked"][-1]
    assert first.text("base") == "I cannot talk about that."
    demo.button(key="pick-top").click().run()
    finished(demo)
    last = demo.session_state["asked"][-1]
    plan = Plan.parse("off L2E8,L2E20")
    said = expected("demo", REFUSED, plan)
    assert (last.text("base"), last.text("steered")) == (said["base"], said["steered"])
    assert said["base"] != said["steered"]
    assert "Plan: off L2E8; off L2E20" in texts(demo)
    assert any(t.startswith("Dose: ") and "slots changed" in t for t in texts(demo))


def test_a_question_is_answered_as_the_library_answers_it(monkeypatch, tmp_path):
    page = page_of("tiny/olmoe", monkeypatch, tmp_path, plan="mute L0E*")
    assert "Plan: " in " ".join(texts(page))
    finished(page.chat_input(key="question").set_value("hello").run())
    said = expected("tiny/olmoe", "hello", Plan.parse("mute L0E*", families.get("olmoe").anatomy))
    last = page.session_state["asked"][-1]
    assert (last.text("base"), last.text("steered")) == (said["base"], said["steered"])


def test_undo_brings_back_the_plan_before_and_clear_empties_it(demo):
    demo.button(key="pick-random").click().run()
    first = demo.session_state["plan"]
    assert len(first.experts) == 2
    demo.number_input(key="how-many").set_value(1).run()
    demo.button(key="pick-top").click().run()
    assert str(demo.session_state["plan"]) == "off L2E8"
    demo.button(key="undo").click().run()
    assert demo.session_state["plan"] == first
    demo.button(key="clear").click().run()
    assert not demo.session_state["plan"]
    demo.button(key="undo").click().run()
    assert demo.session_state["plan"] == first


def test_a_plan_that_changes_nothing_says_so(demo):
    demo.button(key="pick-random")  # none chosen: the plan is written
    demo.text_input(key="written").set_value("scale L0E0=1").run()
    next(b for b in demo.button if b.label == "Use this text as the plan").click().run()
    finished(demo.chat_input(key="question").set_value(REFUSED).run())
    assert any("Dose: nothing changed in" in t for t in texts(demo))


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("off L9E0", "has layers 0"),
        ("off L0E99", "has experts 0"),
        ("nonsense", "is not an edit"),
        ("off L0E*", "selects 4 of 32"),
    ],
)
def test_an_impossible_plan_is_one_sentence_and_the_plan_stays(demo, written, said):
    demo.button(key="pick-top").click().run()
    demo.text_input(key="written").set_value(written).run()
    next(b for b in demo.button if b.label == "Use this text as the plan").click().run()
    assert not demo.exception
    assert [e for e in errors(demo) if said in e]
    assert str(demo.session_state["plan"]) == "off L2E8; off L2E20"


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"model": "../../etc/passwd"}, "has no model"),
        ({"store": "/etc"}, "has no store"),
        ({"plan": "off L9E0"}, "has layers 0"),
        ({"plan": "<script>alert(1)</script>"}, "is not an edit"),
    ],
)
def test_a_url_that_asks_for_what_is_not_there_is_one_sentence_and_a_way_out(monkeypatch, tmp_path, query, said):
    page = page_of("demo", monkeypatch, tmp_path, **query)
    assert not page.exception
    assert [e for e in errors(page) if said in e]
    page.button(key="start-again").click().run()
    assert not page.error


def test_the_url_shows_the_view_by_name_and_brings_it_back(demo, monkeypatch, tmp_path):
    demo.button(key="pick-top").click().run()
    shown = {name: v if isinstance(v, str) else v[0] for name, v in demo.query_params.items()}
    assert shown == {"model": "demo", "store": "refusal (bundled)", "plan": "off L2E8; off L2E20"}
    again = page_of("demo", monkeypatch, tmp_path, **shown)
    assert again.session_state["plan"] == demo.session_state["plan"]


@pytest.mark.parametrize(
    "question", ["<b>x</b><script>alert(1)</script>", "![x](http://x.test/a.png) **b** `c`", "a\x00b\x1b[31m\u202etxt"]
)
def test_a_question_of_markup_is_shown_as_text(demo, question):
    finished(demo.chat_input(key="question").set_value(question).run())
    assert not demo.exception
    assert not demo.markdown
    shown = " ".join(texts(demo))
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    if question.isprintable():
        assert question in shown


def test_a_question_longer_than_the_context_is_refused_with_a_sentence(demo):
    finished(demo.chat_input(key="question").set_value("long " * 20_000).run())
    assert not demo.exception
    assert [e for e in errors(demo) if "takes 512" in e]


def test_a_model_without_a_store_says_what_is_missing(monkeypatch, tmp_path):
    page = page_of("tiny/olmoe", monkeypatch, tmp_path)
    assert page.button(key="pick-top").disabled
    assert [c for c in page.caption if "No store of this model yet" in c.value.replace("\\", "")]
    page.button(key="pick-super").click().run()
    assert [e for e in errors(page) if "this model has none" in e]


def test_a_model_that_cannot_be_loaded_is_one_sentence(monkeypatch, tmp_path):
    page = page_of("tiny/nosuch", monkeypatch, tmp_path)
    assert not page.exception
    assert "There is no tiny model" in errors(page)[0]


def test_the_card_of_a_token_shows_its_alternatives_and_experts(demo):
    finished(demo.button(key=f"example-{REFUSED}").click().run())
    demo.button(key="pick-top").click().run()
    finished(demo)
    demo.session_state["token"] = (demo.session_state["asked"][-1].number, "steered", 0)
    demo.run()
    table = demo.dataframe[0].value
    assert list(table.columns) == ["layer", "base", "steered", "against base"]
    one = demo.session_state["asked"][-1]
    for layer, shown in zip(table["layer"], table["steered"], strict=True):
        assert [f"E{e}" for e, _ in one.steered[0].routing[layer]] == [w for w in shown.split() if w.startswith("E")]
    shown = dict(zip(table["layer"], table["steered"], strict=True))
    assert "E8 " not in f"{shown[2]} "
    assert ExpertRef(2, 8) in one.plan.experts
