"""The words that a direction of the stream stands for: what the output head makes of it, a few of them."""

from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd
import torch
from torch import Tensor, nn

from workbench.errors import WorkbenchError
from workbench.parameters.directions import SIDES, expert_directions, main_write
from workbench.parameters.moe_blocks import moe_blocks
from workbench.parameters.readable import check_plain
from workbench.parameters.routers import router_rows

if TYPE_CHECKING:
    from workbench.model import MoEModel

N_WORDS = 8
"""Words kept of a direction."""
_COLUMNS = ("layer", "expert", "neuron", "side", "token_ids", "words", "logits", "share")


class Head(NamedTuple):
    """From a vector of the stream to logits of words."""

    weight: Tensor
    """[words, hidden] float32."""
    gain: Tensor
    """[hidden] what the last norm multiplies each channel with."""


@torch.no_grad()
def directions(model: "MoEModel", layers: Collection[int] | None = None, *, cells: int = 1 << 25) -> pd.DataFrame:
    """A row for each direction that a routed expert, or a neuron of it, reads or writes, with the words it stands for.

    neuron   its number; null: the expert as a whole, which reads its router's row and writes `main_write` of its neurons
    side     "read" (up projection, router), "gate", "write" (down projection)
    token_ids, words, logits   the eight words with the largest logits: head x direction, for "write" with the gain of the norm
                               before the head folded in, for the others without
    share    of the softmax over all words, the first one's

    cells    how many logits are held at once

    Raises `WorkbenchError` for weights as `matrices` does, and for a model without an output head or a known last norm.
    """
    head, hidden = _head(model), model.anatomy.hidden_size
    rows = [row for vectors in _all(model, layers, hidden) for row in _decoded(vectors, head, cells)]
    text: Callable[[list[int]], str] = model.tokenizer.decode
    known = {token: text([token]) for token in sorted({t for row in rows for t in row[4]})}
    told = [(*row[:5], [known[t] for t in row[4]], *row[5:]) for row in rows]
    return pd.DataFrame(told, columns=[*_COLUMNS]).astype({"neuron": "Int32"})


def check_directions(model: "MoEModel", layers: Collection[int] | None = None) -> None:
    """Raises `WorkbenchError` where `directions` cannot be made of this model; reads shapes alone."""
    _head(model, read=False)
    for block, n_experts in moe_blocks(model, layers):
        for _ in expert_directions(block, n_experts, model.anatomy.hidden_size):
            pass


def n_directions(model: "MoEModel", layers: Collection[int] | None = None) -> int:
    """How many rows `directions` has at most."""
    hidden, total = model.anatomy.hidden_size, 0
    for block, n_experts in moe_blocks(model, layers):
        for own in expert_directions(block, n_experts, hidden):
            total += 2 + sum(len(v) for v in (own.read, own.gate, own.write) if v is not None)
    return total


class _Vectors(NamedTuple):
    """Directions of one side of one expert: of its neurons, or (`whole`) of itself."""

    layer: int
    expert: int
    side: str
    values: Tensor
    whole: bool


def _all(model: "MoEModel", layers: Collection[int] | None, hidden: int) -> Iterator[_Vectors]:
    for block, n_experts in moe_blocks(model, layers):
        try:
            rows = router_rows(block, n_experts, hidden).rows
        except WorkbenchError:
            rows = None  # a router of more than one matrix: no expert has a row to read by
        for own in expert_directions(block, n_experts, hidden):
            if rows is not None:
                yield _Vectors(block.layer, own.expert, "read", rows[own.expert][None], whole=True)
            yield _Vectors(block.layer, own.expert, "write", main_write(own.write)[None], whole=True)
            for side, values in zip(SIDES, (own.read, own.gate, own.write), strict=True):
                if values is not None:
                    yield _Vectors(block.layer, own.expert, side, values, whole=False)


def _decoded(vectors: _Vectors, head: Head, cells: int) -> Iterator[tuple[Any, ...]]:
    values = vectors.values.float().to(head.weight.device)
    values = values * head.gain if vectors.side == "write" else values
    start = 0
    for part in values.split(max(1, cells // len(head.weight))):
        logits = part @ head.weight.T
        best, token = logits.topk(min(N_WORDS, logits.shape[1]), dim=1)
        share = (best[:, 0] - logits.logsumexp(dim=1)).exp()
        for i, row in enumerate(zip(token.tolist(), best.tolist(), share.tolist(), strict=True)):
            yield vectors.layer, vectors.expert, None if vectors.whole else start + i, vectors.side, *row
        start += len(part)


def _head(model: "MoEModel", *, read: bool = True) -> Head:
    hf, hidden = model.runtime.hf, model.anatomy.hidden_size
    ask = getattr(hf, "get_output_embeddings", None)
    head, norm = ask() if ask else None, _last_norm(model.runtime.layout.base, hidden)
    weight = getattr(head, "weight", None)
    if weight is None or norm is None or weight.shape[-1] != hidden:
        raise WorkbenchError(
            f"{type(hf).__name__} has no output head on its stream of {hidden} channels behind one norm, so a direction stands "
            f"for no words; leave directions out of keep."
        )
    check_plain("the output head", weight)
    return Head(weight.detach().float(), _gain(norm, weight)) if read else Head(weight, weight)


def _last_norm(base: nn.Module, hidden: int) -> nn.Module | None:
    norms = [m for m in base.children() if "norm" in type(m).__name__.lower()]
    fits = [m for m in norms if any(p.shape == (hidden,) for p in m.parameters(recurse=False))]
    return fits[-1] if fits else None


def _gain(norm: nn.Module, like: Tensor) -> Tensor:
    """What it multiplies each channel with, whatever its weight is called and is added to.

    Seen at a vector of mean 0, beside whose size its epsilon is nothing.
    """
    own = next(norm.parameters())
    signs = torch.ones(len(own), device=own.device, dtype=own.dtype)
    signs[1::2] = -1
    large = 1024 * signs[None]
    return ((norm(large)[0] - norm(-large)[0]) / 2 * signs).float().to(like.device)
