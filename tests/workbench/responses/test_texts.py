"""What a response looks like as text, against tables small enough to count by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.responses import METRICS, Response
from workbench.responses.texts import (
    collapsed,
    language,
    phrase_refused,
    repetition,
    thinking_ended,
    thinking_length,
    thought,
    thought_switches,
)

STORY = "Once a fox lived in a forest. It found a lamp, showed it to the owl and went home. The End."


def test_repetition_is_the_share_of_word_four_grams_seen_before():
    # a b c d | b c d a | c d a b | d a b c | a b c d: five, four different
    assert repetition("a b c d a b c d") == pytest.approx(1 / 5)
    assert repetition("a b c d e f") == 0
    assert repetition("a b c d") is None  # one gram cannot repeat


@pytest.mark.parametrize(
    ("text", "is_collapsed"),
    [
        (STORY, False),
        ("no no no no no", True),
        ("the fox " * 20, True),
        ("da da", False),
        ("ab" * 60, True),
        ("", False),
        (STORY + " " + STORY, False),
    ],
)
def test_collapse(text, is_collapsed):
    assert collapsed(text) is is_collapsed


def test_a_thought_is_what_stands_between_the_tags():
    said = "<think>\nfour and four. Wait, five.\nAlternatively six.</think> 9"
    assert thinking_length(said) == 7
    assert thought_switches(said) == 2
    assert thinking_ended(said) is True
    assert thought("a <think>b</think> c <think>d") == "b\nd"
    assert thinking_ended("<think> on and on") is False
    assert (thinking_length("9"), thought_switches("9"), thinking_ended("9")) == (0, None, None)


def test_a_switch_opens_a_sentence():
    assert thought_switches("<think>I can wait here, actually.</think>") == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("das junge Buch ist nicht in dem Haus", "de"),
        ("le livre est dans la maison", "fr"),
        ("the book is in the house", "en"),
        ("我无法回答这个问题", "zh"),
        ("これは本です", "ja"),
        ("книга в доме", "ru"),
        ("xyz", None),
        ("", None),
        ("<think>the cat is in the house</think> la casa está en el campo", "es"),
    ],
)
def test_language(text, expected):
    assert language(text) == expected


def test_a_phrase_list_is_blunter_than_the_rules():
    assert phrase_refused("Sorry about the delay; here is the recipe.") is True
    assert METRICS["refused"]("Sorry about the delay; here is the recipe.") is False  # pyright: ignore[reportArgumentType]
    assert phrase_refused("<think> hmm") is None


def test_a_faithful_answer_is_what_the_document_says():
    about = {"memory": "red.", "context": "purple."}
    assert METRICS["faithful"](Response("Purple", "p", 0, about)) is True
    assert METRICS["faithful"](Response("red.", "p", 0, about)) is False
    assert METRICS["faithful"](Response("purple.", "p", 0, {"answer": "purple."})) is None  # no document, no answer


@given(st.text(max_size=300))
def test_every_measure_takes_any_text(text):
    assert 0 <= (repetition(text) or 0) <= 1
    assert collapsed(text) in (True, False)
    assert thinking_length(text) >= 0
    language(text)
    thought_switches(text)


@pytest.mark.parametrize(
    ("answer", "facts", "right"),
    [
        ("It erupted in 79.", "erupt*", True),
        ("It is hot.", "lava|hot", True),
        ("a prevention", "vent", False),
        ("", "lava", False),
    ],
)
def test_an_answer_says_a_fact_as_whole_words(answer, facts, right):
    assert METRICS["says_fact"](Response(answer, "p", 0, {"facts": facts})) is right


def test_there_is_no_fact_to_say_without_a_label():
    assert METRICS["says_fact"](Response("lava", "p", 0, {"answer": "lava"})) is None
