"""Prompts as token ids with roles, and what a user should know about their tokenisation."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from workbench.errors import WorkbenchError
from workbench.prompts import Prompt, PromptSet
from workbench.roles import CODE, Rendered, render, special_ids, token_roles


@dataclass(frozen=True)
class Encoded:
    """One prompt as the model sees it."""

    id: str
    text: str
    """What was tokenised: the text itself, or the chat as its template renders it."""
    ids: tuple[int, ...]
    roles: np.ndarray
    """[tokens] int8 codes of `workbench.schema.ROLES`."""
    starts_thinking: bool
    notes: tuple[str, ...] = ()
    """Why roles are unknown, and oddities: double BOS, special tokens typed in the text, thinking left out."""


def encode(tokenizer: Any, prompts: PromptSet) -> list[Encoded]:
    """Every prompt tokenised, in order. Raises `WorkbenchError` naming a prompt that becomes no token."""
    specials = frozenset(special_ids(tokenizer))
    encoded = [_encode(tokenizer, prompt, specials) for prompt in prompts]
    for prompt in encoded:
        if not prompt.ids:
            raise WorkbenchError(f"The prompt '{prompt.id}' becomes no token at all; give it some text.")
    return encoded


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


def token_texts(tokenizer: Any, ids: np.ndarray) -> list[str]:
    """Each id as readable text, with the space that a sentencepiece token begins with."""
    texts = [tokenizer.decode([int(i)]) for i in ids]
    raw = tokenizer.convert_ids_to_tokens([int(i) for i in ids])
    return [f" {t}" if str(r).startswith("▁") and not t.startswith(" ") else t for t, r in zip(texts, raw, strict=True)]


def _encode(tokenizer: Any, prompt: Prompt, specials: frozenset[int]) -> Encoded:
    if prompt.messages is not None:
        rendered = render(tokenizer, prompt.messages, prompt.id)
    else:
        rendered = Rendered(prompt.text or "", None, "text is tokenised as it is, so no chat template says who speaks")
    ids, offsets, added = _tokenise(tokenizer, rendered.text, with_special=not prompt.is_chat)
    roles = token_roles(tokenizer, ids, offsets, rendered)
    notes = [*_role_notes(rendered, offsets), *_special_notes(tokenizer, ids, offsets, added, rendered, specials)]
    return Encoded(prompt.id, rendered.text, ids, roles, rendered.starts_thinking, tuple(notes))


def _tokenise(
    tokenizer: Any, text: str, *, with_special: bool
) -> tuple[tuple[int, ...], np.ndarray | None, np.ndarray]:
    """Ids, their characters [tokens, 2] (None when the tokenizer cannot say), and which ids the tokenizer added."""
    fast = bool(getattr(tokenizer, "is_fast", False))
    found = tokenizer(
        text, add_special_tokens=with_special, return_special_tokens_mask=True, return_offsets_mapping=fast
    )
    ids = tuple(int(i) for i in found["input_ids"])
    added = np.asarray(found["special_tokens_mask"], bool)
    if fast:
        return ids, np.asarray(found["offset_mapping"], np.int64).reshape(-1, 2), added
    return ids, _offsets_by_decoding(tokenizer, ids, text), added


def _offsets_by_decoding(tokenizer: Any, ids: tuple[int, ...], text: str) -> np.ndarray | None:
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


def _special_notes(
    tokenizer: Any,
    ids: tuple[int, ...],
    offsets: np.ndarray | None,
    added: np.ndarray,
    rendered: Rendered,
    specials: frozenset[int],
) -> list[str]:
    bos = tokenizer.bos_token_id
    notes = ["begins with two BOS tokens"] if len(ids) > 1 and bos is not None and ids[0] == ids[1] == bos else []
    is_special = np.isin(np.asarray(ids), list(specials))
    if rendered.authors is None:
        typed = is_special & ~added if rendered.reason and rendered.reason.startswith("text") else np.zeros(0, bool)
    elif offsets is None:
        typed = np.zeros(0, bool)
    else:
        last = max(len(rendered.authors) - 1, 0)
        typed = is_special & (rendered.authors[np.minimum(offsets[:, 0], last)] != CODE["template"])
    return notes + (["has special tokens typed in its text"] if typed.any() else [])
