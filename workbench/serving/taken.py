"""What a worker hands over of the tokens that it ran, as bytes that any process can read: `packed` and `unpacked`."""

import io
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np


class Piece(NamedTuple):
    """Some consecutive tokens of a request, from one forward.

    arrays  by name, a row for each token: "index 3" and "weight 3" [tokens, k] of layer 3, "logits 3" [tokens, experts], slots
            "changed" [tokens], layers "emptied" [tokens]. "scores" [read, vocabulary] are of the last tokens alone
    """

    request: str
    positions: np.ndarray
    arrays: Mapping[str, np.ndarray]


def packed(pieces: Sequence[Piece]) -> bytes:
    """Pieces as one file of numpy's."""
    into, named = io.BytesIO(), dict[str, np.ndarray]()
    for n, piece in enumerate(pieces):
        named[f"{n}/"] = piece.positions
        named |= {f"{n}/{name}": array for name, array in piece.arrays.items()}
    np.savez(into, **{"": np.array([piece.request for piece in pieces])}, **named)  # pyright: ignore[reportArgumentType]
    return into.getvalue()


def unpacked(data: bytes) -> list[Piece]:
    """The inverse of `packed`; nothing in it is ever run."""
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        requests = file[""].tolist()
        names = [name for name in file.files if name]
        arrays = [
            {name.partition("/")[2]: file[name] for name in names if name.startswith(f"{n}/")}
            for n in range(len(requests))
        ]
    return [Piece(request, found.pop(""), found) for request, found in zip(requests, arrays, strict=True)]
