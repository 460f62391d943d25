"""Attention paid to the first token, layer by layer: the attention sink, and how far a plan makes it decay.

sdpa and flash attention return no attention weights, silently, so they are read through the eager implementation, which is
put in place for the forward alone. Sinks and super experts: Su et al. 2025, arXiv 2507.23279 (its equation 7 is `decay`).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from workbench.answering import encode_all
from workbench.errors import WorkbenchError
from workbench.hooks import steered
from workbench.model import unwrapped
from workbench.plan import Plan
from workbench.prompts import PromptSet, read_prompts
from workbench.routing import Dose

if TYPE_CHECKING:
    from workbench.model import MoEModel

_BATCH_TOKENS = 1024  # attention weights of all heads are held: layers run one after the other, so one layer at a time


class SinkShare(NamedTuple):
    """Attention paid to the first token, the mean over all queries after it: `share` [layers, heads], 0 to 1.

    layers     the decoder layers that have attention of this kind, in order of `share`'s rows
    n_queries  how many tokens attended
    """

    layers: tuple[int, ...]
    share: np.ndarray
    n_queries: int

    def by_layer(self) -> dict[int, float]:
        """The mean over heads."""
        return dict(zip(self.layers, self.share.mean(1).tolist(), strict=True))


class SinksByPrompt(NamedTuple):
    """The same for every prompt by itself: `share` [prompts, layers, heads], NaN for a prompt of one token.

    n_queries  [prompts] how many tokens attended
    """

    layers: tuple[int, ...]
    share: np.ndarray
    n_queries: np.ndarray

    def together(self) -> SinkShare:
        """Over all queries of all prompts."""
        paid = np.nansum(self.share * self.n_queries[:, None, None], axis=0)
        return SinkShare(self.layers, paid / self.n_queries.sum(), int(self.n_queries.sum()))


def sink_share(
    model: "MoEModel", prompts: "PromptSet | str | Path | Iterable[Any]", plan: Plan | None = None
) -> SinkShare:
    """How much of each head's attention goes to the first token of the prompts, under `plan` or none.

    A weight that a model keeps for a learnt sink (gpt-oss) is none of its tokens', so heads may sum to less than 1. While
    it runs, other forwards of this model are eager as well; the implementation is restored however it ends. Raises
    `WorkbenchError` when no layer shows its attention, and when every prompt has one token alone.
    """
    return sinks_by_prompt(model, prompts, plan).together()


def sinks_by_prompt(
    model: "MoEModel", prompts: "PromptSet | str | Path | Iterable[Any]", plan: Plan | None = None
) -> SinksByPrompt:
    """`sink_share`, prompt by prompt."""
    return sinks_of(model, encode_all(model, read_prompts(prompts), 0), plan)


@torch.no_grad()
def sinks_of(
    model: "MoEModel",
    rows: Sequence[Sequence[int]],
    plan: Plan | None = None,
    *,
    dose: Dose | None = None,
    step: Callable[[int], None] | None = None,
) -> SinksByPrompt:
    """`sinks_by_prompt` of token ids. `step` hears how many rows each batch read; what it raises ends the measurement."""
    order, paid = list[int](), dict[int, list[Tensor]]()
    with steered(model, plan or Plan(), dose=dose), unwrapped(model.hf), _eagerly(model), ExitStack() as stack:
        for layer, module in _attentions(model):
            handle = module.register_forward_hook(partial(add_up, paid, layer))
            stack.callback(handle.remove)
        for batch in without_padding(rows):
            model.hf(torch.tensor([rows[i] for i in batch], device=model.device), use_cache=False)
            order += batch
            if step is not None:
                step(len(batch))
    n = np.array([len(ids) - 1 for ids in rows])
    if not paid or not n.any():
        raise WorkbenchError(
            f"{model.anatomy.model} shows no attention to a first token ({len(paid)} layers, {n.sum()} tokens after the first); "
            f"it needs layers with ordinary attention, and prompts of two tokens or more."
        )
    layers = tuple(sorted(paid))
    as_run = np.stack([torch.cat(paid[layer]).cpu().numpy() for layer in layers], axis=1)
    return SinksByPrompt(layers, as_run[np.argsort(order)] / np.where(n, n, np.nan)[:, None, None], n)


def decay(base: SinkShare, changed: SinkShare) -> dict[int, float]:
    """Attention-sink decay rate by layer: 1 - the mean over heads of the changed share over the base share.

    0: the sink is what it was; 1: gone; below 0: it grew. Heads that paid it nothing at all are left out.
    """
    found: dict[int, float] = {}
    for layer, before, after in zip(base.layers, base.share, changed.share, strict=True):
        paid = before > 0
        found[layer] = float(1 - (after[paid] / before[paid]).mean()) if paid.any() else float("nan")
    return found


def without_padding(rows: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Batches of row numbers, of one length each: a padded query would pay attention as well."""
    for n, same in groupby(sorted(range(len(rows)), key=lambda i: len(rows[i])), key=lambda i: len(rows[i])):
        left = list(same)
        step = max(1, _BATCH_TOKENS // n)
        yield from (left[i : i + step] for i in range(0, len(left), step))


@contextmanager
def _eagerly(model: "MoEModel") -> Iterator[None]:
    """The eager attention implementation while open, in the model and its parts."""
    configs = {id(m.config): m.config for m in model.hf.modules() if hasattr(m, "set_attn_implementation")}
    before = [(config, config._attn_implementation) for config in configs.values()]
    try:
        _set_eager(model)
        yield
    finally:
        for config, name in before:
            config._attn_implementation_internal = name


def _set_eager(model: "MoEModel") -> None:
    try:
        model.hf.set_attn_implementation("eager")
    except (ValueError, NotImplementedError, AttributeError) as error:
        raise WorkbenchError(
            f"{model.anatomy.model} cannot run its attention eagerly ({type(error).__name__}: {error}), and no other returns "
            f"its weights, so its attention sinks cannot be measured."
        ) from error


def _attentions(model: "MoEModel") -> Iterator[tuple[int, nn.Module]]:
    """Each decoder layer's attention, by the class that the model declares."""
    declared = (getattr(m, "_can_record_outputs", None) or {} for m in model.hf.modules())
    entries = [e for d in declared for e in _several(d.get("attentions", ()))]
    kinds = tuple({getattr(e, "target_class", e) for e in entries})
    for number, layer in enumerate(model.runtime.layout.layers):
        for module in layer.modules():
            if isinstance(module, kinds):
                yield number, module


def _several(entry: Any) -> Iterable[Any]:
    return entry if isinstance(entry, list | tuple) else (entry,)


def add_up(paid: dict[int, list[Tensor]], layer: int, module: nn.Module, args: Any, output: Any) -> None:
    """Sums the attention [batch, heads, queries, keys] to key 0 over the queries after it, row by row."""
    weights = output[1] if isinstance(output, tuple) and len(output) > 1 else None
    if not isinstance(weights, Tensor) or weights.ndim != 4:
        raise WorkbenchError(
            f"Layer {layer} ({type(module).__name__}) returns no attention weights even in eager mode, so its sink is unknown."
        )
    paid.setdefault(layer, []).append(weights[:, :, 1:, 0].double().sum(-1))
