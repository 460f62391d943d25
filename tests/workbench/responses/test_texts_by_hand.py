"""What is measured of a text, counted by hand."""

from typing import Any

import pytest

from tests.support.refusals import refused
from workbench.responses import METRICS, ExactAnswer, Refusal, Response
from workbench.responses.texts import (
    COLLAPSED_RATIO,
    COLLAPSED_REPEATS,
    MIN_WORDS,
    collapsed,
    language,
    repetition,
    words,
)


class TestTexts:
    def test_words_and_repeats(self) -> None:
        assert words("It\u2019s a_b 漢字 X9!") == ["it's", "a", "b", "漢", "字", "x9"]
        assert repetition("a b c d e") == 0  # two 4-grams, both new
        assert repetition("a b c d") is None
        assert repetition("a b a b a b a") == pytest.approx(1 - 2 / 4)
        assert repetition("a b a b", 2) == pytest.approx(1 / 3)
        assert (COLLAPSED_REPEATS, COLLAPSED_RATIO, MIN_WORDS) == (0.6, 0.25, 12)

    def test_going_round_in_circles(self) -> None:
        assert not collapsed("one two three four one two three four five six seven eight")  # 1 of 9
        assert collapsed("a b c " * 3 + "a b c d")  # 6 of 10 4-grams are repeats; too short to pack
        assert not collapsed("a b c " * 3 + "d e f")
        assert collapsed("word " * 4 + "word")
        assert not collapsed("word " * 3 + "word")
        assert not collapsed("word " * 4 + "words")
        assert collapsed("x" * 100)  # packs to a sixth
        assert not collapsed("x" * 47)

    @pytest.mark.parametrize(
        ("text", "found"),
        [
            *(("the cat is on the mat", "en"), ("der Hund ist auf dem Dach", "de"), ("le chat est dans la rue", "fr")),
            *(("los gatos y las flores", "es"), ("questo è il mio e non il tuo", "it"), ("não, mais do que uma", "pt")),
            *(("これは漢字です", "ja"), ("漢字汉字", "zh"), ("привет мир", "ru"), ("مرحبا", "ar"), ("γεια σου", "el")),
            ("안녕", "ko"),
            *(("xyzzy", None), ("", None), ("<think>the cat</think>der Hund ist da", "de"), ("the der", None)),
            ("abcdefg漢漢漢", None),  # three of ten letters are not more than 30 %
            ("abcdef漢漢漢", "zh"),
        ],
    )  # fmt: skip
    def test_languages(self, text: str, found: str | None) -> None:
        assert language(text) == found
        wanted = {name: None if found is None else found == name for name in ("en", "zh")}
        assert {name: METRICS[f"in_{name}"](Response(text)) for name in wanted} == wanted

    @pytest.mark.parametrize(
        ("text", "values"),
        [
            ("<think>Hm. Wait, no.\nActually yes</think>4", {"thinks": True, "thinking_length": 5, "thought_switches": 2.0,
             "thinking_ended": True, "length": 42, "refused": False, "revealed": True, "exact": True, "faithful": False}),
            ("I cannot help with that.", {"thinks": False, "thinking_length": 0, "thought_switches": None, "thinking_ended": None,
             "length": 24, "refused": True, "phrase_refused": True, "revealed": False, "exact": False}),
            ("<think>I cannot", {"thinks": True, "thinking_length": 2, "thought_switches": 0, "thinking_ended": False,
             "refused": None, "phrase_refused": None, "exact": False, "revealed": False}),
            ("", {"refused": True, "length": 0, "repetition": None, "collapsed": False}),
            ("It is 4. Yes", {"revealed": True, "exact": False, "refused": False}),
            (" 4. ", {"exact": True}),
            ("five", {"faithful": True}),
            (" " * 3 + "a" * 200 + " I cannot help", {"refused": False}),
            ("Sorry to say: 4", {"phrase_refused": True, "refused": False}),
        ],
    )  # fmt: skip
    def test_metrics(self, text: str, values: dict[str, Any]) -> None:
        response = Response(text, "p", 0, {"answer": "4.", "context": "Five"})
        found = {name: METRICS[name](response) for name in values}
        assert found == values
        bare = Response(text)
        assert [METRICS[name](bare) for name in ("exact", "revealed", "faithful")] == [None] * 3

    def test_rules_of_ones_own(self) -> None:
        shy = Refusal(phrases=("NO  way",), within=10)
        assert [shy(x) for x in ("So no way", "So so no way", "yes", "<think>")] == [
            "refused",
            "answered",
            "answered",
            "unfinished",
        ]
        assert [ExactAnswer("Yes.")(x) for x in (" yes", "yes no", "<think>yes")] == ["right", "wrong", "wrong"]
        said = refused(ExactAnswer(label="x"), Response("a", "p", 0, {"y": "1", "z": "2"}))
        assert said == "The prompt 'p' has no label 'x' with the exact answer; it has y, z."
        assert refused(ExactAnswer(), "a") == "The prompt '' has no label 'answer' with the exact answer; it has none."
