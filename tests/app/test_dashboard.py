"""The page, driven without a browser."""

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

PAGE = Path(__file__).parents[2] / "app" / "page.py"


def shown(source: str, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.setattr("sys.argv", [str(PAGE), "--model", source])
    page = AppTest.from_file(str(PAGE), default_timeout=120)
    return page.run()


def test_base_and_steered_answers_stand_side_by_side_with_the_dose(monkeypatch):
    page = shown("tiny/olmoe", monkeypatch)
    page.multiselect(key="edit-off").set_value(["L0E3", "L1E5"]).run()
    assert any("Plan: off L0E3; off L1E5" in text.value for text in page.text)
    page.text_area(key="prompt").set_value("hello")
    page.number_input(key="tokens").set_value(8)
    page.button[0].click().run()
    assert not page.exception
    assert [s.value for s in page.subheader] == ["base", "steered"]
    assert any(text.value.startswith("Dose: ") and "slots changed" in text.value for text in page.text)


def test_the_answers_are_those_of_the_model_and_never_read_as_markdown(monkeypatch):
    from workbench import Plan, compare, load
    from workbench.metrics import length

    page = shown("tiny/olmoe", monkeypatch)
    page.text_input(key="written").set_value("mute L0E*").run()
    page.text_area(key="prompt").set_value("hello")
    page.number_input(key="tokens").set_value(8)
    page.button[0].click().run()
    model = load("tiny/olmoe")
    plan = Plan.parse("mute L0E*", model.anatomy)
    found = compare(
        model, [{"prompt": "hello"}], plan, metrics={"length": length}, controls=0, max_new_tokens=8
    ).responses.iloc[0]
    texts = [text.value for text in page.text]
    from workbench_app.terminal import plain

    assert plain(found["base"]) in texts
    assert plain(found["steered"]) in texts
    assert not page.markdown  # nothing on the page goes through Markdown


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("off L9E0", "has layers 0"),
        ("off L0E99", "has experts 0"),
        ("nonsense", "is not an edit"),
        ("off L0E*", "selects 3 of 16"),
    ],
)
def test_an_impossible_plan_is_one_sentence_on_the_page(monkeypatch, written, said):
    page = shown("tiny/olmoe", monkeypatch)
    page.text_input(key="written").set_value(written).run()
    assert not page.exception
    assert any(said in error.value.replace("\\", "") for error in page.error)


def test_a_model_that_cannot_be_loaded_is_one_sentence(monkeypatch):
    page = shown("tiny/nosuch", monkeypatch)
    assert not page.exception
    assert "There is no tiny model" in page.error[0].value.replace("\\", "")
