"""Text in rows of equal length, by kind: what the student learns from, and documents held out by their SHA-256."""

import hashlib
import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from workbench.errors import WorkbenchError

HELD_OUT = 10
"""One document in so many is never learnt from."""


class Document(NamedTuple):
    """A text and its kind (code, prose, ...)."""

    kind: str
    text: str


class Rows(NamedTuple):
    """Token ids [rows, length] int64 of each kind."""

    learnt: Mapping[str, Tensor]
    held_out: Mapping[str, Tensor]

    @property
    def tokens(self) -> int:
        """Distinct tokens to learn from."""
        return sum(rows.numel() for rows in self.learnt.values())


def rows_of(tokenizer: Any, documents: Iterable[Document], length: int = 512, most: int = 3) -> Rows:
    """The documents in rows: at most `most` of each, so that no long one outweighs the rest; ends too short for a row go.

    Raises `WorkbenchError` where nothing is left to learn from or to be held out.
    """
    found: dict[bool, dict[str, list[list[int]]]] = {False: {}, True: {}}
    for kind, text in dict.fromkeys(documents):
        ids = tokenizer(text, add_special_tokens=False).input_ids
        starts = range(0, min(len(ids) - length + 1, most * length), length)
        found[is_held_out(text)].setdefault(kind, []).extend(ids[i : i + length] for i in starts)
    learnt, held_out = ({k: torch.tensor(v) for k, v in found[side].items() if v} for side in (False, True))
    if not learnt or learnt.keys() != held_out.keys():
        raise WorkbenchError(
            f"The text gives rows of {length} tokens to learn from of {sorted(learnt) or 'no kind'}, and to be held out of "
            f"{sorted(held_out) or 'no kind'}; each kind needs some of both: give more, and longer, documents."
        )
    return Rows(learnt, held_out)


def is_held_out(text: str) -> bool:
    """Whether a document is never learnt from; it hangs on its text alone."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") % HELD_OUT == 0


class Order:
    """Rows of the kinds in turn, each kind in an order drawn by `seed` and again from its start when it is through.

    turns  kinds as they follow each other, one that is named twice twice as often; (): every kind once
    """

    def __init__(self, learnt: Mapping[str, Tensor], seed: int, turns: Sequence[str] = ()) -> None:
        drawing = random.Random(seed)
        self.rows = {
            kind: rows[torch.tensor(drawing.sample(range(len(rows)), len(rows)))]
            for kind, rows in sorted(learnt.items())
        }
        self.turns = list(turns) or list(self.rows)
        if missing := set(self.turns) - set(self.rows):
            raise WorkbenchError(
                f"There is no text of kind {', '.join(sorted(missing))}; there is {', '.join(self.rows)}: give some of it."
            )

    def take(self, start: int, n: int) -> Tensor:
        """Rows number `start` to `start + n` of the whole order."""
        return torch.stack([self._row(i) for i in range(start, start + n)])

    def _row(self, number: int) -> Tensor:
        through, turn = divmod(number, len(self.turns))
        kind = self.turns[turn]
        own = through * self.turns.count(kind) + self.turns[:turn].count(kind)
        return self.rows[kind][own % len(self.rows[kind])]
