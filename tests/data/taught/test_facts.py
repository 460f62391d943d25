"""The rule of facts, by hand and on planted mistakes."""

import pytest
from smollm2.taught.facts import by_chance, facts_of, is_right, plain


@pytest.mark.parametrize(
    ("answer", "facts", "right"),
    [
        ("The country is Japan.", "japan", True),
        ("It is a JAPANESE mountain", "japan", False),  # whole words
        ("It is a JAPANESE mountain", "japan*", True),
        ("It was formed when it erupted", "erupt*|vent", True),
        ("a prevention of floods", "vent", False),
        ("Hot  molten\nrock", "molten rock", True),
        ("rock that is molten", "molten rock", False),
        ("No, it\u2019s a mountain; it isn\u2019t a volcano", "isn't a volcano", True),
        ("I know nothing", "no,", False),
        ("No, it is not", "no,", True),
        ("carbon dioxide (CO2) leaves it", "co2", True),
        ("Mount St. Helens", "helens|rainier", True),
        ("Mount St. Helen", "helens|rainier", False),
        ("K\u012blauea", "k\u012blauea", True),
        ("in 1979", "79", False),
        ("in 79 AD", "79", True),
        ("a.b", "a*b", False),  # a star counts at the end alone
        ("", "lava", False),
    ],
)
def test_by_hand(answer, facts, right):
    assert is_right(answer, facts_of(facts)) is right


def test_chance_counts_answers_given_to_other_questions():
    answers, facts = ["lava", "lava and ash", "japan"], [("lava",), ("ash",), ("japan", "lava")]
    # lava -> ash no, japan|lava yes; lava and ash -> lava yes, japan|lava yes; japan -> lava no, ash no
    assert by_chance(answers, facts) == 3 / 6


def test_plain():
    assert plain(" It\u2019s \n HOT ") == "it's hot"
