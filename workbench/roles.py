"""Who says each token: system, user, assistant, think, tool, template, special - or unknown, with the reason.

A chat is rendered twice: as it is, and with a marker in place of each message's content. The pieces between the markers
are the template's own words; when pieces and contents put together give the real text again, every character's author is
known. When they do not (a template that rewrites messages), the roles are unknown rather than guessed.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from workbench.chatforms import check_tools, marked, marker, shown
from workbench.chats import Messages, Tools, calls_of, joined
from workbench.errors import WorkbenchError
from workbench.schema import ROLES

CODE = {role: number for number, role in enumerate(ROLES)}
THINK = ("<think>", "</think>")
_ROLE_OF_SPEAKER = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool"}


class Rendered(NamedTuple):
    """A prompt as the text that is tokenised, with the author of each character."""

    text: str
    authors: np.ndarray | None
    """[characters] int8 codes of `ROLES`, or None when they are unknown."""
    reason: str | None = None
    """Why the authors are unknown."""
    note: str | None = None
    """What the template left out, such as old thinking."""

    @property
    def starts_thinking(self) -> bool:
        """Whether the text ends inside `<think>`, so that the response begins by thinking."""
        return self.text.rfind(THINK[0]) > self.text.rfind(THINK[1])


def render(
    tokenizer: Any,
    messages: Messages,
    prompt_id: str,
    tools: Tools | None = None,
    options: Mapping[str, Any] | None = None,
) -> Rendered:
    """The chat as text, ready for an answer unless the assistant spoke last.

    tools    functions that the template offers to the model; options: what it is told besides (`enable_thinking`)
    Raises `WorkbenchError` when the tokenizer has no chat template, or the template refuses these messages or shows nothing
    of their tools or calls.
    """
    if not getattr(tokenizer, "chat_template", None):
        raise WorkbenchError(
            f"The prompt '{prompt_id}' is a chat and this tokenizer has no chat template; give the prompt as 'text', "
            f"which is tokenised as it is."
        )
    apply = partial(_apply, tokenizer, prompt_id=prompt_id, tools=tools, options=options)
    text, messages = shown(apply, messages, prompt_id)
    if tools:
        check_tools(text, _apply(tokenizer, messages, prompt_id=prompt_id, options=options), prompt_id)
    try:
        pieces = _split(apply(marked(messages)), len(messages))
    except WorkbenchError:
        pieces = None
    if pieces is None:
        return Rendered(text, None, "the chat template does not show every message once and in order")
    return _authors(text, pieces, messages)


def token_roles(ids: np.ndarray, offsets: np.ndarray | None, rendered: Rendered, marked: "MarkedIds") -> np.ndarray:
    """[tokens] int8 codes of `ROLES` for a rendered prompt; `offsets` [tokens, 2] are the tokens' characters."""
    roles = np.full(len(ids), CODE["unknown"], np.int8)
    if rendered.authors is not None and offsets is not None:
        first, last = offsets[:, 0], np.maximum(offsets[:, 1] - 1, offsets[:, 0])
        end = max(len(rendered.authors) - 1, 0)
        start, stop = rendered.authors[np.minimum(first, end)], rendered.authors[np.minimum(last, end)]
        roles = np.where(start == CODE["template"], stop, start)  # a token across a border belongs to the message
    roles[marked.is_special(ids)] = CODE["special"]
    roles[ids == marked.image] = CODE["image"]
    return roles


def response_roles(tokenizer: Any, ids: Sequence[int], marked: "MarkedIds", *, starts_thinking: bool) -> np.ndarray:
    """[tokens] int8 codes for a response: assistant, think from `<think>` to `</think>` (both included), special."""
    pieces = [tokenizer.decode([i]) for i in ids]
    sizes = np.array([len(piece) for piece in pieces], np.int64)
    text = "".join(pieces)
    authors = np.full(len(text) + 1, CODE["assistant"], np.int8)
    for start, stop in think_spans(text, inside=starts_thinking):
        authors[start:stop] = CODE["think"]
    roles = authors[sizes.cumsum() - sizes]
    roles[marked.is_special(np.asarray(ids, np.int64))] = CODE["special"]
    return roles


def think_spans(text: str, *, inside: bool = False) -> list[tuple[int, int]]:
    """Character spans of thinking, tags included; `inside`: the text begins within one. An open span runs to the end."""
    spans: list[tuple[int, int]] = []
    at = 0
    while at < len(text):
        start = at if inside else text.find(THINK[0], at)
        if start < 0:
            break
        stop = text.find(THINK[1], start)
        at = len(text) if stop < 0 else stop + len(THINK[1])
        spans.append((start, at))
        inside = False
    return spans


class MarkedIds:
    """Ids of the tokenizer's special tokens (BOS, EOS, the markers of turns) and of its image placeholder.

    image  the placeholder's id by the model's config, for a tokenizer that does not know it
    """

    def __init__(self, tokenizer: Any, image: int | None = None) -> None:
        added = getattr(tokenizer, "added_tokens_decoder", {})
        ids = {*tokenizer.all_special_ids, *(i for i, token in added.items() if token.special)}
        self.table = np.zeros(max(ids, default=-1) + 2, bool)  # the last entry stands for all larger ids
        self.table[list(ids)] = True
        own = getattr(tokenizer, "image_token_id", None)
        image = image if own is None else own
        self.image = -1 if image is None else int(image)

    def is_special(self, ids: np.ndarray) -> np.ndarray:
        """[tokens] bool."""
        return self.table[np.minimum(ids, len(self.table) - 1)]


def _apply(
    tokenizer: Any,
    messages: Messages,
    *,
    prompt_id: str,
    tools: Tools | None = None,
    options: Mapping[str, Any] | None = None,
) -> str:
    from jinja2 import TemplateError

    answers = messages[-1]["role"] != "assistant"
    given: dict[str, Any] = dict(options or {}) | ({"tools": [dict(tool) for tool in tools]} if tools else {})
    try:
        return tokenizer.apply_chat_template(
            [dict(message) for message in messages], tokenize=False, add_generation_prompt=answers, **given
        )
    except (TemplateError, TypeError, LookupError, ValueError, AttributeError, ArithmeticError) as error:
        raise WorkbenchError(f"The chat template refuses the prompt '{prompt_id}': {error}.") from error


def _split(text: str, n_messages: int) -> list[str] | None:
    pieces: list[str] = []
    for i in range(n_messages):
        before, found, text = text.partition(marker(i))
        if not found:
            return None
        pieces.append(before)
    return [*pieces, text] if "\ue000" not in "".join([*pieces, text]) else None


def _authors(text: str, pieces: list[str], messages: Messages) -> Rendered:
    authors = np.full(len(text), CODE["template"], np.int8)
    at, stripped = len(pieces[0]), False
    if not text.startswith(pieces[0]):
        return Rendered(text, None, "the chat template's own words depend on the messages")
    for i, message in enumerate(messages):
        called = _called(text, at, pieces[i + 1]) if calls_of(message) else None
        content = called or next((c for c in _as_shown(message) if text.startswith(c + pieces[i + 1], at)), None)
        if content is None:
            return Rendered(text, None, f"the chat template rewrites message {i} ({message['role']})")
        stripped |= called is None and len(content) < len(joined(message.get("content")).strip())
        _mark(authors, at, content, message["role"])
        at += len(content) + len(pieces[i + 1])
    if at != len(text):
        return Rendered(text, None, "the chat template adds words after the last message")
    return Rendered(text, authors, note="the chat template leaves out earlier thinking" if stripped else None)


def _called(text: str, at: int, after: str) -> str | None:
    """All that a turn with tool calls says, from `at` to the template's words that end it."""
    end = text.find(after, at) if after else len(text)
    return text[at:end] if end > at else None


def _as_shown(message: Any) -> list[str]:
    """The forms in which templates show a content: as it is, trimmed, without its thinking."""
    content = joined(message.get("content"))
    answer = [content.split(THINK[1])[-1].lstrip("\n"), content.split(THINK[1])[-1].strip()]
    return [content, content.strip(), *(answer if message["role"] == "assistant" else [])]


def _mark(authors: np.ndarray, at: int, content: str, speaker: str) -> None:
    authors[at : at + len(content)] = CODE[_ROLE_OF_SPEAKER[speaker]]
    if speaker == "assistant":
        for start, stop in think_spans(content):
            authors[at + start : at + stop] = CODE["think"]
