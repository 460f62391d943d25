"""What a student loses against its dense model on the rows held out, by kind and by the number of its experts."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .student import Student
from .teaching import nats

_BATCH = 8  # rows of a forward


class Loss(NamedTuple):
    """Mean nats a token over the dense model's, on rows of a kind with k routed experts."""

    kind: str
    k: int
    nats: float


def losses(student: Student, held_out: Mapping[str, Tensor], ks: Sequence[int], most: int = 12) -> list[Loss]:
    """On at most `most` rows of each kind."""
    return [
        Loss(kind, k, float(by_row(student, rows[:most], k).mean()))
        for k in ks
        for kind, rows in sorted(held_out.items())
    ]


@torch.no_grad()
def by_row(student: Student, rows: Tensor, k: int) -> Tensor:
    """Nats a token over the dense model's, of each row [rows]."""
    found: list[Tensor] = []
    for some in rows.split(_BATCH):
        dense, own = (_loss(student, some, routed) for routed in (None, k))
        found.append(own - dense)
    return torch.cat(found)


def _loss(student: Student, rows: Tensor, k: int | None) -> Tensor:
    hidden = student.hidden(rows, k)[:, :-1]
    return nats(hidden.flatten(0, 1), rows[:, 1:].flatten(), student.head).unflatten(0, (len(rows), -1)).mean(1)
