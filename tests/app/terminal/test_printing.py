"""What a terminal shows: bytes, control characters, JSON, texts side by side, tables, stdout and stderr."""

import pytest
from workbench_app import terminal
from workbench_app.terminal.printing import console

from tests.app.cli.printed import NAN, lines

pytestmark = pytest.mark.usefixtures("wide")


def test_control_characters_become_their_pictures() -> None:
    every = "".join(map(chr, range(160))) + "\ud800\udfff\ue000"
    shown = terminal.plain(every)
    assert shown[:32] == "".join(chr(0x2400 + i) if chr(i) not in "\n\t" else chr(i) for i in range(32))
    assert shown[32:127] == every[32:127]
    assert shown[127:] == "\u2421" + "\ufffd" * 32 + "\ufffd\ufffd\ue000"


def test_json_keeps_letters_and_nulls_what_is_no_number(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.print_json({"a": ["é", "\udc80", NAN]})
    assert capsys.readouterr().out == '{\n "a": [\n  "é",\n  "\\udc80",\n  null\n ]\n}\n'


def test_two_texts_stand_one_above_the_other_where_it_is_narrow(capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    for width, beside in ((69, False), (70, True)):
        monkeypatch.setenv("COLUMNS", str(width))
        console.cache_clear()
        terminal.print_pair(("base", ""), ("steered", "x"))
        shown = lines(capsys.readouterr().out)
        assert ("base" in shown[0] and "steered" in shown[0]) is beside
        assert "(no text)" in shown[1]
        if not beside:
            assert [len(line) for line in shown] == [69] * 6
            assert shown[0].startswith("╭─ base ─")
            assert shown[3].startswith("╭─ steered ─")
        else:
            assert len(shown[0]) == 34 + 1 + 34


def test_a_table_is_what_it_is_told_to_be(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.print_table(["name", "n"], [("a", 1), ("longer", 1000)], "A title", right=["n"])
    title, head, rule, *rows = lines(capsys.readouterr().out)
    assert title == "A title"
    assert set(rule.strip()) == {"─"}
    assert [line.split() for line in (head, *rows)] == [["name", "n"], ["a", "1"], ["longer", "1000"]]
    assert {len(line) for line in (head, *rows)} == {len(head)}, "the numbers end together"
    assert head.index("name") == rows[0].index("a") == rows[1].index("longer")


@pytest.mark.parametrize(("width", "broken"), [(44, False), (26, True), (20, True), (9, True)])
def test_a_narrow_terminal_breaks_names_and_loses_no_digit(capsys, monkeypatch, width: int, broken: bool) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    console.cache_clear()
    heads = ["a_long_name", "n_rows", "words"]
    terminal.print_table(heads, [("1,234", 5, "some words")], right=heads[:2])
    shown = lines(capsys.readouterr().out)
    assert max(map(len, shown)) <= width
    assert ("a_long_name" not in "".join(shown)) == broken
    assert sorted(c for c in "".join(shown) if c.isdigit()) == [*"12345"]
    if width > 9:  # there is room for every number in one line
        assert [line.split()[:2] for line in shown if "1,234" in line] == [["1,234", "5"]]


def test_results_go_to_stdout_and_words_about_the_work_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.say("a result " * 30)
    terminal.note("a note " * 30)
    terminal.warn("[red]a warning")
    with terminal.working("Thinking"):
        pass
    found = capsys.readouterr()
    assert found.out == "a result " * 30 + "\n"  # one line, however long
    assert found.err.splitlines()[:2] == ["a note " * 30, "[red]a warning"]
    terminal.say()
    assert capsys.readouterr().out == "\n"


def test_numbers_are_never_broken_over_lines_and_words_may_be(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    console.cache_clear()
    terminal.print_table(
        ["n", "said"], [("-0.123 to 0.456", "several words that need more than one line")], right=["n"]
    )
    shown = lines(capsys.readouterr().out)
    assert sum("-0.123 to 0.456" in line for line in shown) == 1
    assert max(map(len, shown)) <= 40
    assert [word for line in shown[2:] for word in line.replace("-0.123 to 0.456", "").split()] == (
        ["several", "words", "that", "need", "more", "than", "one", "line"]
    )


def test_code_stands_in_quotes_in_a_sentence_and_as_it_is_in_an_answer(capsys: pytest.CaptureFixture[str]) -> None:
    for one in (terminal.say, terminal.note, terminal.warn):
        one("make one with `workbench run`, or `x`; a ` alone stays")
    shown = capsys.readouterr()
    assert {*shown.out.splitlines(), *shown.err.splitlines()} == {
        "make one with 'workbench run', or 'x'; a ` alone stays"
    }
    terminal.print_pair(("base", "call `f`"), ("steered", "x"))
    assert "call `f`" in capsys.readouterr().out
