"""Who says each token: system, user, assistant, think, tool, template, special - or unknown, with the reason.

A chat is rendered twice: as it is, and with a marker in place of each message's content. The pieces between the markers
are the template's own words; when pieces and contents put together give the real text again, every character's author is
known. When they do not (a template that rewrites messages), the roles are unknown rather than guessed.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from workbench.errors import WorkbenchError
from workbench.moment import dated
from workbench.prompts import Messages
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


def render(tokenizer: Any, messages: Messages, prompt_id: str) -> Rendered:
    """The chat as text, ready for an answer unless the assistant spoke last.

    Raises `WorkbenchError` when the tokenizer has no chat template or the template refuses these messages.
    """
    if not getattr(tokenizer, "chat_template", None):
        raise WorkbenchError(
            f"The prompt '{prompt_id}' is a chat and this tokenizer has no chat template; give the prompt as 'text', "
            f"which is tokenised as it is."
        )
    text = _apply(tokenizer, messages, prompt_id)
    marked = [{**message, "content": _marker(i)} for i, message in enumerate(messages)]
    try:
        pieces = _split(_apply(tokenizer, tuple(marked), prompt_id), len(messages))
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


def _apply(tokenizer: Any, messages: Messages, prompt_id: str) -> str:
    from jinja2 import TemplateError

    answers = messages[-1]["role"] != "assistant"
    try:
        return tokenizer.apply_chat_template(
            [dict(message) for message in messages],
            tokenize=False,
            add_generation_prompt=answers,
            **dated(tokenizer),
        )
    except (TemplateError, TypeError, KeyError) as error:
        raise WorkbenchError(f"The chat template refuses the prompt '{prompt_id}': {error}.") from error


def _marker(number: int) -> str:
    return f"\ue000{number}\ue001"  # private-use characters: no real prompt has them, no template looks for them


def _split(text: str, n_messages: int) -> list[str] | None:
    pieces: list[str] = []
    for i in range(n_messages):
        before, found, text = text.partition(_marker(i))
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
        content = next((c for c in _as_shown(message) if text.startswith(c + pieces[i + 1], at)), None)
        if content is None:
            return Rendered(text, None, f"the chat template rewrites message {i} ({message['role']})")
        stripped |= len(content) < len(message["content"].strip())
        _mark(authors, at, content, message["role"])
        at += len(content) + len(pieces[i + 1])
    if at != len(text):
        return Rendered(text, None, "the chat template adds words after the last message")
    return Rendered(text, authors, note="the chat template leaves out earlier thinking" if stripped else None)


def _as_shown(message: Any) -> list[str]:
    """The forms in which templates show a content: as it is, trimmed, without its thinking."""
    content = message["content"]
    answer = [content.split(THINK[1])[-1].lstrip("\n"), content.split(THINK[1])[-1].strip()]
    return [content, content.strip(), *(answer if message["role"] == "assistant" else [])]


def _mark(authors: np.ndarray, at: int, content: str, speaker: str) -> None:
    authors[at : at + len(content)] = CODE[_ROLE_OF_SPEAKER[speaker]]
    if speaker == "assistant":
        for start, stop in think_spans(content):
            authors[at + start : at + stop] = CODE["think"]
