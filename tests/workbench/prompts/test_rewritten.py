"""The words in which two texts differ."""

from workbench.capturing.rewritten import difference


def test_words_that_differ() -> None:
    assert difference("on the 3rd of May we", "on the 4th of May we") == ("3rd", "4th")
    assert difference("a b c d", "a x y d") == ("b c", "x y")
    assert difference("a b", "a b c") == ("b", "b c")
    assert difference("a b ", "a b c") == ("", "c")
    assert difference("same", "same") == ("", "")
    assert difference("x" * 90 + " a", "y a") == ("x" * 80, "y")
