"""Prompts as token ids with roles, and what a user should know about their tokenisation."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from workbench.errors import WorkbenchError
from workbench.prompts.chat_forms import unread
from workbench.prompts.dates import moment
from workbench.prompts.prompts import Prompt, PromptSet, read_prompts
from workbench.prompts.roles import CODE, MarkedIds, Rendered, render, token_roles
from workbench.thinking import token_texts as token_texts

TEXT_HAS_NO_ROLES = "text is tokenised as it is, so no chat template says who speaks"


class PromptIds(tuple[int, ...]):
    """A prompt's token ids, with the marker of the thought that they leave open ("" for none): the response goes on with it."""

    opened: str

    def __new__(cls, ids: Iterable[int], opened: str = "") -> "PromptIds":
        made = super().__new__(cls, ids)
        made.opened = opened
        return made


@dataclass(frozen=True)
class Encoded:
    """One prompt as the model sees it."""

    id: str
    text: str
    """What was tokenised: the text itself, or the chat as its template renders it."""
    ids: PromptIds
    roles: np.ndarray
    """[tokens] int8 codes of `workbench.prompts.roles.ROLES`."""
    starts_thinking: bool
    notes: tuple[str, ...] = ()
    """Why roles are unknown, and oddities: double BOS, special tokens typed in the text, thinking left out."""


def encode(tokenizer: Any, prompts: PromptSet | Any, image: int | None = None) -> list[Encoded]:
    """Every prompt tokenised, in order. Raises `WorkbenchError` naming a prompt that becomes no token.

    prompts  or whatever `read_prompts` takes
    image    the id of the model's image placeholder, whose tokens get a role of their own
    """
    prompts = read_prompts(prompts)
    marked = MarkedIds(tokenizer, image)
    with moment():
        rendered = [_render(tokenizer, prompt) for prompt in prompts]
    tokenised = _tokenise_all(tokenizer, [prompt.is_chat for prompt in prompts], rendered)
    encoded = [
        _encoded(prompt, text, tokens, tokenizer, marked)
        for prompt, text, tokens in zip(prompts, rendered, tokenised, strict=True)
    ]
    for prompt in encoded:
        if not prompt.ids:
            raise WorkbenchError(f"The prompt '{prompt.id}' becomes no token at all; give it some text.")
    return encoded


def check_unanswered(prompts: PromptSet) -> None:
    """Raises `WorkbenchError` for a chat that ends with the assistant's turn: nobody asks there, so nothing is answered."""
    for prompt in prompts:
        if prompt.messages is not None and prompt.messages[-1]["role"] == "assistant":
            raise WorkbenchError(
                f"The prompt '{prompt.id}' ends with the assistant's turn, so no answer is to be made there; leave that turn "
                f"out (as 'response', it is read as the given answer), or capture it as it is, without generating."
            )


def warnings(encoded: Iterable[Encoded]) -> list[str]:
    """The notes on all prompts, one sentence each with how many prompts it concerns and the first of them."""
    counted: Counter[str] = Counter()
    first: dict[str, str] = {}
    for prompt in encoded:
        for note in prompt.notes:
            counted[note] += 1
            first.setdefault(note, prompt.id)
    return [f"{note} ({n} prompts, the first is '{first[note]}')" for note, n in sorted(counted.items())]


def encode_responses(tokenizer: Any, texts: Mapping[str, Sequence[str]]) -> dict[str, list[tuple[int, ...]]]:
    """Given responses as token ids, by prompt; tokenised on their own, nothing is appended."""
    encoded = {
        name: [tuple(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in several]
        for name, several in texts.items()
    }
    for name, several in encoded.items():
        if not all(several):
            raise WorkbenchError(f"A given response of the prompt '{name}' is empty; leave it out or give it text.")
    return encoded


class _Tokens(NamedTuple):
    ids: np.ndarray
    offsets: np.ndarray | None  # characters of each token [tokens, 2]; None when the tokenizer cannot say
    added: np.ndarray  # which tokens the tokenizer put there by itself


def _render(tokenizer: Any, prompt: Prompt) -> Rendered:
    if prompt.messages is not None:
        return render(tokenizer, prompt.messages, prompt.id, prompt.tools, prompt.chat_template_kwargs)
    return Rendered(prompt.text or "", None, TEXT_HAS_NO_ROLES)


def _encoded(prompt: Prompt, rendered: Rendered, tokens: _Tokens, tokenizer: Any, marked: MarkedIds) -> Encoded:
    roles = token_roles(tokens.ids, tokens.offsets, rendered, marked)
    notes = [*_role_notes(rendered, tokens.offsets), *_unread_notes(tokenizer, prompt)]
    notes += _special_notes(tokens, rendered, tokenizer.bos_token_id, marked)
    ids = PromptIds(tokens.ids.tolist(), rendered.opened)
    return Encoded(prompt.id, rendered.text, ids, roles, bool(ids.opened), tuple(notes))


def _tokenise_all(tokenizer: Any, are_chats: Sequence[bool], rendered: Sequence[Rendered]) -> list[_Tokens]:
    """Chats without the tokenizer's own special tokens (the template has them), texts with; two calls for all prompts."""
    found: dict[int, _Tokens] = {}
    for is_chat in (False, True):
        chosen = [i for i, chat in enumerate(are_chats) if chat == is_chat]
        if chosen:
            found |= zip(chosen, _tokenise(tokenizer, [rendered[i] for i in chosen], not is_chat), strict=True)
    return [found[i] for i in range(len(rendered))]


def _tokenise(tokenizer: Any, rendered: list[Rendered], with_special: bool) -> Iterator[_Tokens]:
    fast = bool(getattr(tokenizer, "is_fast", False)) and any(
        r.authors is not None for r in rendered
    )  # offsets cost time
    texts = [r.text for r in rendered]
    found = tokenizer(
        texts,
        add_special_tokens=with_special,
        return_attention_mask=False,
        return_special_tokens_mask=True,
        return_offsets_mapping=fast,
    )
    for i, (row, added) in enumerate(zip(found["input_ids"], found["special_tokens_mask"], strict=True)):
        offsets = None
        if fast:
            offsets = np.asarray(found["offset_mapping"][i], np.int64).reshape(-1, 2)
        elif rendered[i].authors is not None:
            offsets = offsets_by_decoding(tokenizer, row, texts[i])
        yield _Tokens(np.asarray(row, np.int64), offsets, np.asarray(added, bool))


def offsets_by_decoding(tokenizer: Any, ids: Sequence[int], text: str) -> np.ndarray | None:
    """Characters per token of a slow tokenizer, when its tokens, or a few together, decode to exactly the text.

    A character of several byte tokens belongs to each of them.
    """
    offsets: list[tuple[int, int]] = []
    at = 0
    while len(offsets) < len(ids):
        for n in range(1, 5):  # a character has at most four bytes
            piece = tokenizer.decode(list(ids[len(offsets) : len(offsets) + n]))
            if piece and text.startswith(piece, at):
                break
        else:
            return None
        offsets += [(at, at + len(piece))] * n
        at += len(piece)
    return np.array(offsets[: len(ids)]) if at == len(text) else None


def _role_notes(rendered: Rendered, offsets: np.ndarray | None) -> list[str]:
    reason = rendered.reason
    if reason is None and offsets is None:
        reason = "the tokenizer does not say which characters a token covers"
    unknown = [f"roles are unknown: {reason}"] if reason else []
    return unknown + ([rendered.note] if rendered.note else [])


def _unread_notes(tokenizer: Any, prompt: Prompt) -> list[str]:
    unused = unread(tokenizer.chat_template, prompt.chat_template_kwargs) if prompt.chat_template_kwargs else []
    return [f"the chat template does not read {name}, so it changes nothing" for name in unused]


def _special_notes(tokens: _Tokens, rendered: Rendered, bos: int | None, marked: MarkedIds) -> list[str]:
    ids = tokens.ids
    notes = ["begins with two BOS tokens"] if len(ids) > 1 and bos is not None and ids[0] == ids[1] == bos else []
    typed = marked.is_special(ids) & ~tokens.added
    if rendered.authors is not None and tokens.offsets is not None:
        last = max(len(rendered.authors) - 1, 0)
        typed &= rendered.authors[np.minimum(tokens.offsets[:, 0], last)] != CODE["template"]
    elif rendered.reason != TEXT_HAS_NO_ROLES:
        return notes  # a template's special tokens cannot be told from those typed
    return notes + (["has special tokens typed in its text"] if typed.any() else [])
