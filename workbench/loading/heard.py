"""The layers whose experts are surely heard in the logits, from three forwards or so for all of them: a row of a batch for each.

Rows of a batch share one thing, the products of an expert over all the tokens it gets, whose rounding may depend on how many
those are. So every router answers, while rows are muted, what it answered in the same batch without: each expert gets the same
tokens in the same order, and a row that nothing changes keeps its bits. Where a processor's products are not the same bits twice,
the first and the last row, in which nothing is muted, say how far that goes: a layer has to be heard far above it; otherwise a
forward of its own tells.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from workbench.anatomy import ExpertRef
from workbench.hooks import following, recording
from workbench.routing import Dose, muted_in_rows

if TYPE_CHECKING:
    from workbench.model import MoEModel, Runtime

_TOKENS = 8  # of each row
_LAYERS = 32  # muted in one forward
_ABOVE = 100.0  # times what a row changes that nothing should change


@torch.no_grad()
def surely_heard(model: "MoEModel", ids: Tensor) -> set[int]:
    """MoE layers whose most used expert, muted in a row of its own, changes that row's logits. ids: [sequences, tokens].

    A layer that is left out may be heard as well. Of a model that cannot run this batch (memory, a shape of its own), all are.
    """
    layers = tuple(model.runtime.layout.blocks)
    batch = ids[:1, :_TOKENS].repeat(min(len(layers), _LAYERS) + 2, 1)
    found = set[int]()
    with suppress(Exception), replayed(model.runtime):
        with recording(model, keep=()) as recorder:
            base = model.hf(batch, use_cache=False).logits
            seen = recorder.take().layers
        for start in range(0, len(layers), _LAYERS):
            some = enumerate(layers[start : start + _LAYERS], start=1)
            rows = {row: _most_used(layer, seen[layer].index) for row, layer in some}
            found |= _heard(model, batch, base, rows)
    return found


def _heard(model: "MoEModel", batch: Tensor, base: Tensor, rows: Mapping[int, ExpertRef]) -> set[int]:
    """The layers of those of `rows` whose logits differ from `base` [rows, tokens, vocabulary] far more than rows left alone."""
    with following(model.runtime, muted_in_rows(rows, model.anatomy), Dose(is_counting=False)):
        logits = model.hf(batch, use_cache=False).logits
    moved = (logits - base).abs().float().amax((1, 2))
    noise = max(float(moved[0]), float(moved[-1]))
    return {ref.layer for row, ref in rows.items() if float(moved[row]) > _ABOVE * noise}


def _most_used(layer: int, index: Tensor) -> ExpertRef:
    return ExpertRef(layer, int(torch.bincount(index.reshape(-1)).argmax()))


@contextmanager
def replayed(runtime: "Runtime") -> Iterator[None]:
    """While open, each router answers in every forward what it answered in the first."""
    with ExitStack() as stack:
        for block in runtime.layout.blocks.values():
            stack.callback(block.router.register_forward_hook(_replay()).remove)
        yield


def _replay() -> Any:
    first = list[Any]()

    def answer(module: Any, args: Any, out: Any) -> Any:
        first[:] = first or [_copied(out)]
        return _copied(first[0])  # a block may change in place what its router answers

    return answer


def _copied(out: Any) -> Any:
    parts = out if isinstance(out, tuple | list) else (out,)
    return tuple(x.clone() if isinstance(x, Tensor) else x for x in parts)
