"""Marks that hide or turn text are shown."""

from workbench_app.dashboard.widgets import literal


def test_marks_that_hide_or_turn_text_are_shown():
    hidden = [*range(0x200B, 0x2010), *range(0x2028, 0x202F), *range(0x2060, 0x2070), 0xFEFF]
    beside = [0x200A, 0x2010, 0x2027, 0x202F, 0x205F, 0x2070, 0xFEFE, 0xFF00]
    assert literal.visible("".join(map(chr, hidden))) == "\u2426" * len(hidden)
    assert literal.visible("".join(map(chr, beside))) == "".join(map(chr, beside))
    assert literal.escaped("a*_[b](c)\x07") == "a\\*\\_\\[b\\]\\(c\\)\u2407"
    shown = {" ": "\u2423", "\n": "\u23ce", "\t ": "\u21e5\u2423", "": "\u2205", " a\n": " a\n"}
    assert {text: literal.token_text(text) for text in shown} == shown


def test_our_own_sentences_show_commands_as_code_and_what_they_quote_as_text():
    assert literal.sentence("no *x*; run `workbench rank --out`.") == "no \\*x\\*; run `workbench rank --out`\\."
    for quoted in ("a ` b", "``", "<b> `", "`a` `"):  # marks that do not pair are text
        assert literal.sentence(quoted) == literal.escaped(quoted)
    hostile = "`<b>`**x**`[y](z)\x07`"
    assert literal.sentence(hostile) == "`<b>`\\*\\*x\\*\\*`[y](z)\u2407`"
