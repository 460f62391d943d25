"""Responses in channels, as gpt-oss writes them (harmony): thoughts in analysis, the answer in final, tools in commentary.

<|channel|>analysis<|message|>4 + 5<|end|><|start|>assistant<|channel|>final<|message|>9<|return|>
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from workbench.thinking.thoughts import Kind, Reading, Span

START, CHANNEL, MESSAGE = "<|start|>", "<|channel|>", "<|message|>"
CLOSING = ("<|end|>", "<|call|>", "<|return|>")
FRAME = (START, CHANNEL, MESSAGE, "<|constrain|>", *CLOSING)
"""The markers of harmony, each one token."""
SHOWN = (START, CHANNEL, MESSAGE, "<|constrain|>", "<|end|>")
"""Those that stay in the text of a response; the others end it, as other templates' ends of turns do."""
ANALYSIS = f"{CHANNEL}analysis{MESSAGE}"

_FRAME = re.compile("|".join(map(re.escape, FRAME)))
_BEGINS = re.compile(r"(?:\A|<\|start\|>[^<]*|<\|end\|>)\s*<\|channel\|>")


class _Part(NamedTuple):
    """A marker and the text up to the next one: a word of the frame, or words that are said."""

    marker: str
    text: str
    start: int
    stop: int
    closed: bool  # by another marker, not by the end of the text

    @property
    def is_words(self) -> bool:
        return self.marker == MESSAGE or (self.marker in ("", *CLOSING) and bool(self.text.strip()))


def in_channels(text: str) -> bool:
    """Whether a response is written in channels, rather than one that speaks of them."""
    return _BEGINS.search(text) is not None


def by_channel(text: str) -> Reading:
    """A response in channels; the answer is all of final, and None until there is any of it."""
    spans, thoughts, answers = list[Span](), list[str](), list[str]()
    ended, left = None, ""
    for part, kind in _said(text):
        words = part.start + len(part.marker)
        frame, said = (words, part.stop) if part.is_words else (part.stop, part.stop)
        spans += [Span("template", part.start, frame)] if frame > part.start else []
        spans += [Span(kind, words, said)] if kind is not None and part.is_words and said > words else []
        if kind == "think" and part.marker in (CHANNEL, MESSAGE):
            is_over = part.marker == MESSAGE and part.closed
            ended, left = is_over, "" if is_over else ANALYSIS
            thoughts += [part.text] if part.marker == MESSAGE else []
        elif kind is None and part.is_words and (part.closed or part.text.strip()):
            answers.append(part.text)
    return Reading(tuple(spans), tuple(thoughts), "\n".join(answers).strip() if answers else None, ended, left)


def _said(text: str) -> Iterator[tuple[_Part, Kind | None]]:
    """Each part with what its message is; None is the answer."""
    kind: Kind | None = None
    speaker: Kind | None = None  # a tool, or None: the assistant
    for part in _parts(text):
        first = (part.text.split() or [""])[0]
        if part.marker == START:
            kind = speaker = None if first in ("", "assistant") else "tool"
        elif part.marker == CHANNEL:
            kind = speaker or ("think" if first == "analysis" else None if first == "final" else "tool")
        elif part.marker in CLOSING:
            kind = speaker = None
        yield part, kind


def _parts(text: str) -> Iterator[_Part]:
    found = list(_FRAME.finditer(text))
    starts = [marker.start() for marker in found]
    stops = [*starts, len(text)]
    if stops[0]:
        yield _Part("", text[: stops[0]], 0, stops[0], bool(found))
    for marker, stop in zip(found, stops[1:], strict=True):
        yield _Part(marker[0], text[marker.end() : stop], marker.start(), stop, stop < len(text))
