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


def losses(student: Student, held_out: Mapping[str, Tensor], ks: Sequence[int], most: int = 8) -> list[Loss]:
    """On at most `most` rows of each kind."""
    some = {kind: rows[:most] for kind, rows in sorted(held_out.items())}
    dense = {kind: by_row(student, rows, None) for kind, rows in some.items()}
    return [
        Loss(kind, k, float((by_row(student, rows, k) - dense[kind]).mean())) for k in ks for kind, rows in some.items()
    ]


@torch.no_grad()
def by_row(student: Student, rows: Tensor, k: int | None) -> Tensor:
    """Nats a token of each row [rows]: of the dense model, or with k of the student."""
    return torch.cat([_loss(student, some, k) for some in rows.split(_BATCH)])


def _loss(student: Student, rows: Tensor, k: int | None) -> Tensor:
    hidden = student.hidden(rows, k)[:, :-1]
    return nats(hidden.flatten(0, 1), rows[:, 1:].flatten(), student.head).unflatten(0, (len(rows), -1)).mean(1)
