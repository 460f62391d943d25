"""Who says each token: system, user, assistant, think, tool, template, special - or unknown, with the reason.

A chat is rendered twice: as it is, and with a marker in place of each message's content. The pieces between the markers
are the template's own words; when pieces and contents put together give the real text again, every character's author is
known. When they do not (a template that rewrites messages), the roles are unknown rather than guessed.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from workbench.errors import WorkbenchError
from workbench.prompts.chat_forms import Apply, check_tools, marked, marker, shown
from workbench.prompts.chats import Messages, Tools, calls_of, joined
from workbench.prompts.dates import dated
from workbench.thinking import CHANNEL, MARKERS, PAIRS, opened, opened_in, pieces, read, special_ids

ROLES = ("system", "user", "assistant", "think", "tool", "image", "template", "special", "unknown")
CODE = {role: number for number, role in enumerate(ROLES)}
THINK = (PAIRS[0].open, PAIRS[0].close)
_SAID_TO_THE_MODEL = ("system", "user", "tool")
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
    answer_at: int | None = None
    """Where the words begin that lead into the answer, after the last of what was said to the model; None: unknown."""

    @property
    def opened(self) -> str:
        """The marker of the thought that the text leaves open, so that the response begins by thinking; "" for none."""
        return opened_in(self.text) if self.answer_at is None else opened(self.text[self.answer_at :])

    @property
    def starts_thinking(self) -> bool:
        """Whether the response begins by thinking."""
        return bool(self.opened)


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
    found = _with_authors(apply, text, messages)
    return found._replace(answer_at=_answer_at(apply, found, messages))


def _with_authors(apply: Apply, text: str, messages: Messages) -> Rendered:
    try:
        pieces = _split(apply(marked(messages)), len(messages))
    except WorkbenchError:
        pieces = None
    if pieces is None:
        return Rendered(text, None, "the chat template does not show every message once and in order")
    return _authors(text, pieces, messages)


def _answer_at(apply: Callable[..., str], found: Rendered, messages: Messages) -> int | None:
    """Where what the template adds for an answer begins, or else what follows the last words to the model."""
    if not any(marker in found.text for marker in (CHANNEL, *MARKERS)):
        return len(found.text)  # nothing is open, wherever that is
    said = 0
    if found.authors is not None:
        others = np.flatnonzero(np.isin(found.authors, [CODE[name] for name in _SAID_TO_THE_MODEL]))
        said = int(others[-1]) + 1 if len(others) else 0
    try:
        without = apply(messages, answers=False)
    except WorkbenchError:
        without = found.text
    added = _n_same(found.text, without)
    if found.text[added:].strip():
        return max(said, added)
    return None if found.authors is None else said


def _n_same(one: str, other: str) -> int:
    """How many characters two texts begin with alike."""
    most = min(len(one), len(other))
    return next((i for i in range(most) if one[i] != other[i]), most)


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


def response_roles(
    tokenizer: Any, ids: Sequence[int], marked: "MarkedIds", *, starts_thinking: bool = False, opened: str = ""
) -> np.ndarray:
    """[tokens] int8 codes for a response: assistant, think (markers included), tool, template (a channel's name), special.

    opened  the marker of a thought that the template left open; starts_thinking: the same, for whichever marker
    """
    if not len(ids):
        return np.zeros(0, np.int8)
    said = pieces(tokenizer, ids)
    sizes = np.array([len(piece) for piece in said], np.int64)
    text, before = "".join(said), opened or (THINK[0] if starts_thinking else "")
    authors = _response_authors(before + text)[len(before) :]
    roles = authors[sizes.cumsum() - sizes]
    roles[marked.is_special(np.asarray(ids, np.int64))] = CODE["special"]
    return roles


def _response_authors(text: str) -> np.ndarray:
    """[characters + 1] codes of who says each character of a response."""
    authors = np.full(len(text) + 1, CODE["assistant"], np.int8)
    for kind, start, stop in read(text).spans:
        authors[start:stop] = CODE[kind]
    return authors


def think_spans(text: str, *, inside: bool = False) -> list[tuple[int, int]]:
    """Character spans of thinking, tags included; `inside`: the text begins within one. An open span runs to the end."""
    before = len(THINK[0]) if inside else 0
    spans = [s for s in read(THINK[0] * inside + text).spans if s.kind == "think"]
    return [(max(s.start - before, 0), s.stop - before) for s in spans if s.stop > before]


class MarkedIds:
    """Ids of the tokenizer's special tokens (BOS, EOS, the markers of turns) and of its image placeholder.

    image  the placeholder's id by the model's config, for a tokenizer that does not know it
    """

    def __init__(self, tokenizer: Any, image: int | None = None) -> None:
        ids = special_ids(tokenizer)
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
    answers: bool | None = None,
) -> str:
    from jinja2 import TemplateError

    answers = messages[-1]["role"] != "assistant" if answers is None else answers
    given: dict[str, Any] = dict(options or {}) | ({"tools": [dict(tool) for tool in tools]} if tools else {})
    try:
        return tokenizer.apply_chat_template(
            [dict(message) for message in messages],
            tokenize=False,
            add_generation_prompt=answers,
            **{**dated(tokenizer, tools=given.get("tools")), **given},
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
    answers = [content, *(content.split(pair.close)[-1] for pair in PAIRS if pair.close in content)]
    shown = [form for answer in answers for form in (answer.lstrip("\n"), answer.strip())]
    return [content, content.strip(), *(shown if message["role"] == "assistant" else [])]


def _mark(authors: np.ndarray, at: int, content: str, speaker: str) -> None:
    authors[at : at + len(content)] = CODE[_ROLE_OF_SPEAKER[speaker]]
    if speaker == "assistant":
        authors[at : at + len(content)] = _response_authors(content)[:-1]
