"""What a routed model loses on text held out, beside routings that were not learned: nats over the dense model by document."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from workbench.factorization.distilling import Document, Student, by_row, is_held_out
from workbench.resample import cluster_draws, percentile_interval, widened

LENGTH, ROWS, OF_ONE = 512, 41, 3
"""Tokens of a row, rows of a kind (20,951 tokens that are predicted), and rows of a document at most."""
_DRAWS = 2000


class Held(NamedTuple):
    """Rows [n, length] of documents that nothing was learned from, and the number of each row's document [n]."""

    rows: Tensor
    document: np.ndarray


class Lost(NamedTuple):
    """Nats a token over the dense model's, with a 95 % interval over documents."""

    nats: float
    low: float
    high: float
    documents: int


def held_out(tokenizer: Any, documents: Iterable[Document]) -> dict[str, Held]:
    """Of each kind the first rows in the order of the documents' SHA-256."""
    kept = sorted({d for d in documents if is_held_out(d.text)}, key=lambda d: hashlib.sha256(d.text.encode()).digest())
    found: dict[str, list[tuple[list[int], int]]] = {}
    for number, document in enumerate(kept):
        rows = found.setdefault(document.kind, [])
        if len(rows) < ROWS:
            ids = tokenizer(document.text, add_special_tokens=False).input_ids
            starts = range(0, min(len(ids) - LENGTH + 1, OF_ONE * LENGTH), LENGTH)
            rows += [(ids[i : i + LENGTH], number) for i in starts]
    return {
        kind: Held(torch.tensor([ids for ids, _ in rows]), np.unique([n for _, n in rows], return_inverse=True)[1])
        for kind, rows in sorted(found.items())
    }


def lost(student: Student, held: Held, k: int, dense: Tensor) -> Lost:
    """With k routed experts of a token; dense: nats of the dense model on the same rows [n]."""
    return mean_of((by_row(student, held.rows, k) - dense).double().numpy(), held.document)


def mean_of(nats: np.ndarray, document: np.ndarray) -> Lost:
    """The mean of rows [rows], whose documents are drawn again for the interval."""
    draws = cluster_draws(document, _DRAWS, np.random.default_rng(0))
    n = int(document.max()) + 1
    low, high = percentile_interval((draws @ nats / draws.sum(1))[:, None], widened(n))
    return Lost(float(nats.mean()), float(low[0]), float(high[0]), n)


# ---- routings that were not learned

Choice = Callable[[Tensor, Tensor], Tensor]
"""From the neurons of the routed groups [..., experts, size] and the rows that they write [experts, size, hidden], what the top-k
is of [..., experts]."""


def at_random(groups: Tensor, _: Tensor) -> Tensor:
    """Experts drawn anew for every token."""
    return torch.rand(groups.shape[:-1])


def by_oracle(groups: Tensor, writes: Tensor) -> Tensor:
    """The length of what each group adds, which only who has computed all of them knows."""
    return torch.stack([(groups[..., e, :] @ rows).float().norm(dim=-1) for e, rows in enumerate(writes)], -1)


class Chosen(nn.Module):
    """A routed MLP whose experts are chosen by other means, and weigh 1."""

    def __init__(self, routed: Any, choice: Choice) -> None:
        super().__init__()
        self.routed, self.choice = routed, choice

    def forward(self, x: Tensor) -> Tensor:
        """X [..., hidden]."""
        own = self.routed
        if own.switch.dense:
            return own(x)
        neurons = own.act_fn(own.gate_proj(x)) * own.up_proj(x)
        experts = len(own.router)
        groups = neurons.unflatten(-1, (experts + own.shared, -1))
        writes = own.down_proj.weight.T.unflatten(0, (experts + own.shared, -1))[:experts]
        best = self.choice(groups[..., :experts, :], writes).topk(own.switch.k, -1).indices
        on = torch.ones(groups.shape[:-1], dtype=groups.dtype)
        on[..., :experts] = torch.zeros_like(on[..., :experts]).scatter_(-1, best, 1.0)
        return own.down_proj((groups * on[..., None]).flatten(-2))


@contextmanager
def chosen(student: Student, choice: Choice) -> Iterator[Student]:
    """The student with its experts chosen so, in every layer."""
    blocks, own = student.model.model.layers, student.routed
    try:
        for block, routed in zip(blocks, own, strict=True):
            block.mlp = Chosen(routed, choice)
        yield student
    finally:
        for block, routed in zip(blocks, own, strict=True):
            block.mlp = routed
