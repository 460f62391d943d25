"""A value as text that moves no cursor."""

from typing import Any

# control characters become their printable pictures: a model's answer must not move the cursor or colour the terminal
_PICTURES = {c: 0x2400 + c for c in range(32) if chr(c) not in "\n\t"} | {0x7F: 0x2421}
_PICTURES |= dict.fromkeys(range(128, 160), 65533)
# halves of surrogate pairs are how Python spells a byte of a path or an argument that is not UTF-8
_PICTURES |= dict.fromkeys(range(0xD800, 0xE000), 65533)


def plain(value: Any) -> str:
    """The text with control characters other than newline and tab as their pictures."""
    return str(value).translate(_PICTURES)
