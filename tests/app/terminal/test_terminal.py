"""What a terminal shows: results on stdout as they are, notes on stderr, tables, JSON, and a model being opened."""

import io
from contextlib import contextmanager

import numpy as np
import pytest
from rich.console import Console
from workbench_app.terminal import opening, values
from workbench_app.terminal import printing as terminal


@pytest.fixture
def shown(monkeypatch):
    """What goes to stdout and to stderr of a terminal of so many columns."""
    streams = {False: io.StringIO(), True: io.StringIO()}

    def wide(columns, **how):
        made = {
            k: Console(file=s, width=columns, markup=False, emoji=False, highlight=False, **how)
            for k, s in streams.items()
        }
        monkeypatch.setattr(terminal, "console", lambda *, stderr=False: made[stderr])
        return streams

    return wide


def test_results_go_to_stdout_and_notes_to_stderr_as_they_are(shown):
    streams = shown(10)
    terminal.say("a long line of a [b]result[/b] :smile:")
    terminal.note("a note that is long\x07")
    terminal.warn("a warning that is long")
    terminal.say()
    assert streams[False].getvalue() == "a long line of a [b]result[/b] :smile:\n\n"
    assert streams[True].getvalue() == "a note that is long\u2407\na warning that is long\n"
    assert (
        values.plain("\x00\x1f\x7f\x80\x9f\xa0\ud800\udfff\n\t") == "\u2400\u241f\u2421\ufffd\ufffd\xa0\ufffd\ufffd\n\t"
    )
    streams = shown(40, force_terminal=True, color_system="standard", legacy_windows=False)
    terminal.note("dim")
    terminal.warn("yellow")
    assert streams[True].getvalue().endswith("\x1b[2mdim\x1b[0m\n\x1b[33myellow\x1b[0m\n")


def test_the_console_takes_text_as_it_is():
    for stderr in (False, True):
        made = terminal.console.__wrapped__(stderr=stderr)
        assert (made.stderr, made._markup, made._emoji, made._highlight, made.soft_wrap) == (
            stderr,
            False,
            False,
            False,
            False,
        )


def test_a_table_has_a_title_and_numbers_at_the_right(shown):
    streams = shown(60)
    terminal.print_table(["name", "n"], [("[a]", 1), ("b\x07", 234)], "A title", right=["n"])
    terminal.print_table(["x"], [("y",)])
    lines = [line.rstrip() for line in streams[False].getvalue().splitlines()]
    rule = [line for line in lines if set(line.strip()) == {"\u2500"}]
    assert [line for line in lines if line and line not in rule] == [
        "A title", " name    n", " [a]     1", " b\u2407    234", " x", " y",
    ]  # fmt: skip


def test_two_texts_stand_side_by_side_where_there_is_room(shown):
    streams = shown(70)
    terminal.print_pair(("base", "one"), ("steered", ""))
    lines = streams[False].getvalue().splitlines()
    assert [len(lines), lines[0].startswith("\u256d\u2500 base "), "\u256d\u2500 steered " in lines[0]] == [
        3,
        True,
        True,
    ]
    assert lines[1].replace(" ", "") == "\u2502one\u2502\u2502(notext)\u2502"
    assert lines[0].index("\u256d\u2500 steered") == 35
    streams = shown(69)
    terminal.print_pair(("base", "one"), ("steered", "two"))
    narrow = streams[False].getvalue().splitlines()[3:]
    assert [len(line) for line in narrow] == [69] * 6


def test_json_has_no_infinities(capsys):
    terminal.print_json({1: (np.float32(0.5), float("nan"), float("inf")), "\u00e4": ["\udc80", None, np.int64(3)]})
    assert capsys.readouterr().out == (
        '{\n "1": [\n  0.5,\n  null,\n  null\n ],\n "\u00e4": [\n  "\\udc80",\n  null,\n  3\n ]\n}\n'
    )


def test_a_spinner_is_on_stderr(shown):
    streams = shown(60)
    with opening.working("Loading x"):
        pass
    assert streams[False].getvalue() == ""


def test_a_model_is_opened_with_what_was_asked(monkeypatch):
    from transformers.utils import logging

    import workbench

    told = []
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "0")
    monkeypatch.setattr(opening, "working", lambda what: told.append(what) or contextmanager(lambda: iter([None]))())
    monkeypatch.setattr(workbench, "load", lambda source, **how: (source, how))
    monkeypatch.setattr(logging, "disable_progress_bar", lambda: told.append("no bar"))
    monkeypatch.setattr(logging, "set_verbosity_error", lambda: told.append("errors alone"))
    assert opening.open_model("m", "cpu", "auto", revision="r") == (
        "m",
        {"device": "cpu", "dtype": "auto", "engine": None, "revision": "r"},
    )
    assert told == ["Loading m", "no bar", "errors alone"]
