"""Thoughts between markers, such as <think> and </think>: the table of markers, and a response taken apart by them.

A marker in quotes or backticks is talked about, and opens nothing.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple


class Pair(NamedTuple):
    """What opens and closes a thought; `label`: a word after the opening that is not thought."""

    open: str
    close: str
    label: str = ""


PAIRS = (
    Pair("<think>", "</think>"),  # Qwen3, DeepSeek, GLM, Kimi K2, MiniMax, Granite, Hunyuan, ... and the bundled model
    Pair("<seed:think>", "</seed:think>"),  # Seed-OSS
    Pair("[THINK]", "[/THINK]"),  # Magistral
    Pair("◁think▷", "◁/think▷"),  # Kimi-VL
    Pair("<|START_THINKING|>", "<|END_THINKING|>"),  # Command A
    Pair("<|inner_prefix|>", "<|inner_suffix|>"),  # Apertus
    Pair("<|channel>", "<channel|>", "thought"),  # Gemma 4
    Pair("<thought>", "</thought>"),  # EXAONE Deep
)
MARKERS = tuple(marker for pair in PAIRS for marker in (pair.open, pair.close))
"""The texts that open and close thoughts; a tokenizer may spell one with one token or with several."""

Kind = Literal["think", "tool", "template"]
_OF = {pair.open: (pair, True) for pair in PAIRS} | {pair.close: (pair, False) for pair in PAIRS}
_MARKER = re.compile("|".join(map(re.escape, MARKERS)))
_WRAPPED = re.compile(r"\s*<(response|answer)>")  # Granite and Hunyuan put the answer after a thought into tags
_QUOTES = "`'\"\u201c\u201d\u2018\u2019\u00ab\u00bb"


class Span(NamedTuple):
    """Characters start..stop that are not answer: thought (its markers included), a tool's call, or the template's frame."""

    kind: Kind
    start: int
    stop: int


@dataclass(frozen=True)
class Reading:
    """A response taken apart.

    spans     what is not answer, in order and without overlap
    thoughts  what was thought, each stretch without its markers
    answer    what was answered, without surrounding space; None while it has not begun (a thought goes on, a tool is called)
    ended     whether the last thought was closed; None without a thought
    open      the marker of the thought that is left open; "" for none
    """

    spans: tuple[Span, ...] = ()
    thoughts: tuple[str, ...] = ()
    answer: str | None = ""
    ended: bool | None = None
    open: str = ""

    @property
    def thinks(self) -> bool:
        """Whether a thought was opened, be it empty."""
        return self.ended is not None


def by_pairs(text: str) -> Reading:
    """A response whose thoughts stand between `PAIRS`; the answer follows the last of them.

    A close that nothing opened closes all that came before it: the template had opened that thought.
    """
    spans, thoughts = list[Span](), list[str]()
    inside: Pair | None = None
    start = content = end = 0  # of the thought, of its words, and where the last thought ended
    for marker, pair, opens in _markers(text):
        if inside is None and opens:
            inside, start, content = pair, marker.start(), marker.end()
        elif not opens and inside in (None, pair):
            begun, words = (start, content) if inside else (end, end)
            spans.append(Span("think", begun, marker.end()))
            thoughts.append(_words(text[words : marker.start()], pair))
            inside, end = None, marker.end()
    if inside is not None:
        left = (*spans, Span("think", start, len(text)))
        return Reading(left, (*thoughts, _words(text[content:], inside)), None, False, inside.open)
    answer, frame = _unwrapped(text, end) if thoughts else (text.strip(), ())
    return Reading((*spans, *frame), tuple(thoughts), answer, True if thoughts else None)


def last_open(text: str) -> tuple[str, int, int] | None:
    """The last marker that opens a thought which nothing closes, and the characters that it takes, its label included."""
    found: tuple[Pair, int, int] | None = None
    for marker, pair, opens in _markers(text):
        if opens:
            found = pair, marker.start(), marker.end()
        elif found is not None and found[0] is pair:
            found = None
    if found is None:
        return None
    pair, start, stop = found
    return pair.open, start, stop + len(text[stop:]) - len(_words(text[stop:], pair))


def _markers(text: str) -> Iterator[tuple[re.Match[str], Pair, bool]]:
    for marker in _MARKER.finditer(text):
        before, after = text[: marker.start()][-1:], text[marker.end() : marker.end() + 1]
        if not (before and after and before in _QUOTES and after in _QUOTES):
            yield marker, *_OF[marker[0]]


def _words(thought: str, pair: Pair) -> str:
    return thought.lstrip().removeprefix(pair.label) if pair.label else thought


def _unwrapped(text: str, end: int) -> tuple[str, tuple[Span, ...]]:
    """The answer from `end` on, and the tags around it."""
    tag = _WRAPPED.match(text, end)
    if tag is None:
        return text[end:].strip(), ()
    close = f"</{tag[1]}>"
    stop = text.rfind(close, tag.end())
    if stop < 0:
        return text[tag.end() :].strip(), (Span("template", end, tag.end()),)
    after = stop + len(close)
    answer = text[tag.end() : stop] + text[after:]
    return answer.strip(), (Span("template", end, tag.end()), Span("template", stop, after))
