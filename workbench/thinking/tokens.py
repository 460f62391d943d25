"""Token ids as text, whole: no character is cut where one token ends and the next begins.

Byte-level tokenizers spell a Chinese character or an emoji with several tokens, none of which is a character by itself.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from workbench.thinking.channels import CHANNEL, MESSAGE, SHOWN
from workbench.thinking.thoughts import MARKERS

_CUT = "\ufffd"
_LONGEST = 8
"""Tokens that are waited for before broken bytes are taken for broken; a character has four bytes at most."""


def pieces(tokenizer: Any, ids: Sequence[int], *, ended: bool = True) -> list[str]:
    """What each token adds to the text of those before it: "" until a character is complete, then the character.

    ended  False holds back a character that the last tokens began and have not finished
    """
    unique, inverse = np.unique(np.asarray(ids, np.int64), return_inverse=True)
    alone = token_texts(tokenizer, unique)
    found = [alone[i] for i in inverse.tolist()]
    letters, whole = ("".join(text.split()) for text in ("".join(found), tokenizer.decode(list(ids))))
    return found if letters == whole and _CUT not in whole else grown(tokenizer, list(ids), ended)


def token_texts(tokenizer: Any, ids: np.ndarray) -> list[str]:
    """Each id by itself as readable text, with the space that a sentencepiece token begins with."""
    texts = [tokenizer.decode([int(i)]) for i in ids]
    raw = tokenizer.convert_ids_to_tokens([int(i) for i in ids])
    return [f" {t}" if str(r).startswith("▁") and not t.startswith(" ") else t for t, r in zip(texts, raw, strict=True)]


def said(tokenizer: Any, rows: Sequence[Sequence[int]], opened: Sequence[str]) -> list[str]:
    """The texts of responses: special tokens are left out but for the markers of thoughts and channels.

    opened  for each the marker of the thought that the template left open, or "": its text begins with it, so that it says
            what it is
    """
    hidden = special_ids(tokenizer) - _shown(tokenizer)
    kept = [[i for i in ids if i not in hidden] for ids in rows]
    texts = [tokenizer.decode(ids, skip_special_tokens=False).strip() for ids in kept]
    return [t if t.startswith(mark) else mark + t for t, mark in zip(texts, opened, strict=True)]


def special_ids(tokenizer: Any) -> frozenset[int]:
    """Ids of the special tokens: BOS, EOS, the markers of turns, and whatever else was added as special."""
    added = getattr(tokenizer, "added_tokens_decoder", {})
    return frozenset((*tokenizer.all_special_ids, *(i for i, token in added.items() if token.special)))


class Growing:
    """A text that grows by tokens: `add` gives what each one adds, "" until a character is complete."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer, self.ids, self.start, self.read = tokenizer, list[int](), 0, 0

    def add(self, token: int, *, is_last: bool = False) -> str:
        """What the text has more by this token: it is decoded with the one before it, since a tokenizer may treat the first
        token of a text in its own way. is_last: a character that was begun and never finished is given as it is.
        """
        self.ids.append(token)
        before = self.tokenizer.decode(self.ids[self.start : self.read])
        text, end = self.tokenizer.decode(self.ids[self.start :]), len(self.ids)
        if not (len(text) > len(before) and not text.endswith(_CUT)) and end - self.read < _LONGEST and not is_last:
            return ""
        self.start, self.read = self.read, end
        return text[len(before) :]


def grown(tokenizer: Any, ids: list[int], ended: bool) -> list[str]:
    growing = Growing(tokenizer)
    return [growing.add(i, is_last=ended and n == len(ids)) for n, i in enumerate(ids, 1)]


def _shown(tokenizer: Any) -> frozenset[int]:
    """Ids of markers that are one token each; those of channels where the tokenizer has channels."""
    found = _ids(tokenizer, (*MARKERS, *SHOWN))
    in_channels = CHANNEL in found and MESSAGE in found
    return frozenset(i for marker, i in found.items() if in_channels or marker not in SHOWN)


def _ids(tokenizer: Any, markers: Sequence[str]) -> dict[str, int]:
    ids = {marker: tokenizer.convert_tokens_to_ids(marker) for marker in markers}
    return {m: i for m, i in ids.items() if i is not None and tokenizer.convert_ids_to_tokens(i) == m}
