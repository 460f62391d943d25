"""What an engine hands over of a batch while it runs: its answers' tokens beside the slots of the forwards that made them.

A token is handed over once, in order, and when the token that its forward made is there: what was forwarded again (after
preemption) or too far (behind the end of an answer) is left out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch

from workbench.backends import Keep, Ran
from workbench.generation import Made
from workbench.records import ForwardRecord, LayerRecord, Step
from workbench.routing import Dose
from workbench.serving.taken import Piece, within


class News(NamedTuple):
    """What one step told of a sequence: token ids, log-probabilities, the likeliest tokens of each, whether it ends."""

    sequence: int
    ids: list[int]
    logprobs: list[float]
    likeliest: list[list[tuple[int, float]]]
    ends: bool


@dataclass
class Given:
    """One row of the batch: how many tokens were given, how many were made, and up to which position all was handed over.

    is_kept  whether the engine keeps what it does for this row; where not, its tokens are counted
    """

    n_given: int
    generates: bool
    is_kept: bool
    n_made: int = 0
    handed: int = 0
    waiting: list[Piece] = field(default_factory=list[Piece])

    @property
    def ready(self) -> int:
        """Positions below it may be handed over."""
        if not self.n_made:
            return 0
        return self.n_given + (self.n_made - 1 if self.generates else 0)

    def pieces(self) -> list[Piece]:
        """What may be handed over now, and was not."""
        found, left = list[Piece](), list[Piece]()
        for piece in self.waiting:
            now = _between(piece, self.handed, self.ready)
            if len(now.positions):
                found.append(now)
                self.handed = int(now.positions[-1]) + 1
            later = _between(piece, self.ready, 1 << 60)
            left += [later] if len(later.positions) else []
        self.waiting = left
        return found


def _between(piece: Piece, start: int, stop: int) -> Piece:
    return within(piece, (piece.positions >= start) & (piece.positions < stop))


@dataclass
class Portions:
    """The rows of a batch; top_k by MoE layer, what is to be recorded, and each row's dose."""

    sequences: list[Given]
    top_k: Mapping[int, int]
    keep: Keep | None
    doses: Sequence[Dose | None]

    def portion(self, news: Sequence[News], pieces: Mapping[int, Sequence[Piece]]) -> Ran | None:
        """What has become complete by one step's news and pieces, by sequence; None: nothing has."""
        for one in news:
            self.sequences[one.sequence].n_made += len(one.ids)
        found = list[tuple[int, Piece]]()
        for number in sorted({one.sequence for one in news} | {n for n, some in pieces.items() if some}):
            self.sequences[number].waiting += pieces.get(number, ())
            found += [(number, piece) for piece in self._ready(number)]
        made = _made([one for one in news if one.ids and self.sequences[one.sequence].generates])
        if not found and made is None:
            return None
        self._dose(found)
        return Ran(_step(found), None if self.keep is None else self._record([piece for _, piece in found]), made)

    def _ready(self, number: int) -> list[Piece]:
        sequence = self.sequences[number]
        if sequence.is_kept:
            return sequence.pieces()
        start, sequence.handed = sequence.handed, max(sequence.ready, sequence.handed)
        return [Piece("", np.arange(start, sequence.handed), {})] if sequence.handed > start else []

    def _dose(self, found: Sequence[tuple[int, Piece]]) -> None:
        for number, piece in found:
            dose, none = self.doses[number], np.zeros(1, int)
            changed, emptied = (piece.arrays.get(name, none) for name in ("changed", "emptied"))
            if dose is not None and dose.is_counting:
                dose.told(len(piece.positions), int((changed > 0).sum()), int(changed.sum()), int(emptied.sum()))

    def _record(self, pieces: Sequence[Piece]) -> ForwardRecord:
        layers = {number: self._layer(number, k, pieces) for number, k in self.top_k.items()}
        return ForwardRecord(layers, {})

    def _layer(self, number: int, k: int, pieces: Sequence[Piece]) -> LayerRecord:
        def joined(name: str, width: int) -> torch.Tensor:
            rows = [piece.arrays[f"{name} {number}"] for piece in pieces]
            return torch.from_numpy(np.concatenate(rows)) if rows else torch.zeros(0, width)

        has_logits = bool(pieces) and f"logits {number}" in pieces[0].arrays
        return LayerRecord(joined("index", k).long(), joined("weight", k), joined("logits", 0) if has_logits else None)


def _step(found: Sequence[tuple[int, Piece]]) -> Step:
    n = sum(len(piece.positions) for _, piece in found)
    none = np.zeros(0, np.int64)
    sequence = np.concatenate([none, *(np.full(len(piece.positions), number) for number, piece in found)])
    position = np.concatenate([none, *(piece.positions for _, piece in found)])
    return Step(np.arange(n), sequence, position, n)


def _made(news: Sequence[News]) -> Made | None:
    if not news:
        return None
    row = np.concatenate([np.full(len(one.ids), one.sequence) for one in news])
    ends = np.concatenate([[False] * (len(one.ids) - 1) + [one.ends] for one in news])
    ids, logprobs = ([x for one in news for x in getattr(one, name)] for name in ("ids", "logprobs"))
    best: list[Any] = [pairs for one in news for pairs in one.likeliest]
    likeliest = None
    if all(best):
        table = np.array(best, dtype=np.float64)  # [tokens, n, (id, log-probability)]
        likeliest = table[..., 0].astype(np.int64), table[..., 1].astype(np.float32)
    return Made(row, np.array(ids, np.int64), np.array(logprobs, np.float32), ends.astype(bool), likeliest)
