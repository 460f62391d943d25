"""Text from models, stores and users on a page: shown as it is, never read as Markdown or HTML."""

from typing import Any

from ...terminal import plain

_MARKS = frozenset("\\`*_{}[]()#+-.!|<>~$:&@=\"'")
_BLANK = str.maketrans({" ": "\u2423", "\n": "\u23ce", "\t": "\u21e5", "\xa0": "\u237d"})
# what turns the reading direction or hides in a line: shown as a picture, so that text cannot pose as other text
_DIRECTION = dict.fromkeys((*range(8203, 8208), *range(8232, 8239), *range(8288, 8304), 65279), "␦")


def visible(value: Any) -> str:
    """The text with control characters and invisible marks of direction as pictures; for elements that show plain text."""
    return plain(value).translate(_DIRECTION)


def escaped(value: Any) -> str:
    """Text for a place that reads Markdown: every mark that means something there is escaped."""
    return "".join(f"\\{c}" if c in _MARKS else c for c in visible(value))


def sentence(value: Any) -> str:
    """One of our own sentences for a place that reads Markdown: what stands between backticks is code, the rest escaped.

    Whatever it quotes stays text: nothing is read as a mark inside of code, and everything is escaped outside.
    """
    parts = str(value).split("`")
    if len(parts) % 2 == 0 or not all(parts[1::2]):
        return escaped(value)
    return "".join(f"`{visible(part)}`" if i % 2 else escaped(part) for i, part in enumerate(parts))


def token_text(text: str) -> str:
    """A token in a sentence or a table: spaces and line ends are signs where they are all there is."""
    shown = visible(text)
    return shown if shown.strip() else shown.translate(_BLANK) or "\u2205"
