"""A list of prompts by what differs between them: a system prompt that all begin with would be every entry's first words."""

from collections.abc import Sequence

_MOST, _LEAD = 80, 20


def told_apart(listed: Sequence[str], among: Sequence[str], most: int = _MOST) -> list[str]:
    """Each text of `listed` without the words that all texts of `among` begin and end with, in at most `most` characters.

    A text that begins like another for longer than that is shown by its first words and those from the difference on.
    """
    start = end = 0
    if len(set(among)) > 1:
        backwards = [text[::-1] for text in among]
        start = shared(min(among), max(among))
        end = min(shared(min(backwards), max(backwards)), min(map(len, among)) - start)
    found = ["… " * bool(start) + " ".join(text[start : len(text) - end].split()) for text in listed]
    order = sorted(set(found))
    near = {text: [*order[max(i - 1, 0) : i], *order[i + 1 : i + 2]] for i, text in enumerate(order)}
    return [_cut(text, max((shared(text, other) for other in near[text]), default=0), most) for text in found]


def shared(one: str, other: str) -> int:
    """How many characters two texts begin with alike, in whole words."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if one[:middle] == other[:middle] else (low, middle - 1)
    while low and any(text[low - 1 : low + 1].isalnum() and low < len(text) for text in (one, other)):
        low -= 1
    return low


def _cut(text: str, differs: int, most: int) -> str:
    if differs <= most - _LEAD or len(text) <= most:
        return text[:most]
    return f"{text[:_LEAD]} … {text[differs:]}"[:most]
