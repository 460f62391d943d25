"""What a worker hands over of the tokens that it ran, as bytes that any process can read: `packed` and `unpacked`.

Whoever captures while a server answers takes requests when they have ended; until then their rows lie in a `Waiting`.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np


class Piece(NamedTuple):
    """Some consecutive tokens of a request, from one forward.

    arrays  by name, a row for each token: "index 3" and "weight 3" [tokens, k] of layer 3, "logits 3" [tokens, experts], slots
            "changed" [tokens], layers "emptied" [tokens], "ids" [tokens] where text is kept. "scores" [read, vocabulary] are of
            the last tokens alone
    """

    request: str
    positions: np.ndarray
    arrays: Mapping[str, np.ndarray]


def packed(pieces: Sequence[Piece]) -> bytes:
    """Pieces as one file of numpy's: each array of all pieces behind one another, and how many rows of it are whose."""
    into = io.BytesIO()
    every = [{"": piece.positions, **piece.arrays} for piece in pieces]
    named = {"requests": np.array([piece.request for piece in pieces])}
    for name in dict.fromkeys(name for arrays in every for name in arrays):
        found = [arrays[name] for arrays in every if name in arrays]
        named[f"of {name}"] = np.concatenate(found)
        named[f"rows {name}"] = np.array([len(arrays[name]) if name in arrays else -1 for arrays in every])
    np.savez(into, **named)  # pyright: ignore[reportArgumentType]
    return into.getvalue()


def unpacked(data: bytes) -> list[Piece]:
    """The inverse of `packed`; nothing in it is ever run."""
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        requests = file["requests"].tolist()
        every = [dict[str, np.ndarray]() for _ in requests]
        for name in (name.removeprefix("of ") for name in file.files if name.startswith("of ")):
            rows = file[f"rows {name}"]
            parts = np.split(file[f"of {name}"], np.cumsum(np.maximum(rows, 0))[:-1])
            for arrays, part, n in zip(every, parts, rows, strict=True):
                if n >= 0:
                    arrays[name] = part
    return [Piece(request, arrays.pop(""), arrays) for request, arrays in zip(requests, every, strict=True)]


def within(piece: Piece, inside: np.ndarray) -> Piece:
    """A piece's tokens that are inside, bool [tokens]."""
    if inside.all():
        return piece
    return Piece(piece.request, piece.positions[inside], {name: array[inside] for name, array in piece.arrays.items()})


# ---- rows that wait until their request has ended


@dataclass
class Followed:
    """One request: what is known of it, its rows so far (None: they were dropped), how many tokens it forwarded."""

    about: dict[str, Any]
    pieces: list[Piece] | None = field(default_factory=list[Piece])
    forwarded: int = 0
    position: int = 0
    has_ended: bool = False


@dataclass
class Waiting:
    """The rows of captured requests, of at most `most` bytes together. What finds no room is dropped with all of its request:
    a request is captured whole or not at all, and its tokens are counted either way.
    """

    most: int
    requests: dict[str, Followed] = field(default_factory=dict[str, Followed])
    size: int = 0

    def add(self, request: str, positions: np.ndarray, about: dict[str, Any], made: Callable[[], Piece]) -> None:
        """A request's tokens of one forward. about: JSON-able, of the request; made: makes the rows, if there is room."""
        one = self.requests.setdefault(request, Followed(about))
        new, is_gap = positions >= one.position, int(positions[0]) > one.position
        one.forwarded += int(new.sum())
        one.position = max(one.position, int(positions[-1]) + 1)
        if is_gap:  # what stands before was read from a cache, so the request would not be whole
            self._drop(one)
        if one.pieces is None or not new.any():  # after preemption positions are forwarded once more
            return
        piece = within(made(), new)
        size = _size(piece)
        if self.size + size > self.most:
            return self._drop(one)
        own = {name: array.copy() for name, array in piece.arrays.items()}  # a view would hold the whole forward
        one.pieces.append(piece._replace(arrays=own))
        self.size += size

    def end(self, request: str) -> None:
        """A request will not run again; its rows wait until they are taken."""
        if request in self.requests:
            self.requests[request].has_ended = True

    def take(self) -> tuple[list[dict[str, Any]], list[Piece]]:
        """What is known of the requests that have ended, and the rows of those that are whole; they are forgotten here."""
        ended = {name: one for name, one in self.requests.items() if one.has_ended}
        self.requests = {name: one for name, one in self.requests.items() if not one.has_ended}
        said = [
            {**one.about, "request": name, "forwarded": one.forwarded, "is_kept": one.pieces is not None}
            for name, one in ended.items()
        ]
        pieces = [_joined(name, one.pieces) for name, one in ended.items() if one.pieces]
        self.size -= sum(map(_size, pieces))
        return said, pieces

    def _drop(self, one: Followed) -> None:
        self.size -= sum(map(_size, one.pieces or ()))
        one.pieces = None


def _size(piece: Piece) -> int:
    return piece.positions.nbytes + sum(array.nbytes for array in piece.arrays.values())


def _joined(request: str, pieces: Sequence[Piece]) -> Piece:
    arrays = {name: np.concatenate([piece.arrays[name] for piece in pieces]) for name in pieces[0].arrays}
    return Piece(request, np.concatenate([piece.positions for piece in pieces]), arrays)
