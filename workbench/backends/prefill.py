"""A batch's prompts forwarded: the tokens that all of them begin with once, the rest a few sequences at a time.

A chat template puts one system prompt before every question, and its keys and values are the same in every sequence. And experts
copy each token k times: where such a copy is large (CPU), its pages are mapped and cleared anew in every layer, which took as
long as the arithmetic. Every sequence keeps its columns, padding included, so positions and phases stay what they are.

Only with caches of keys and values: where one holds anything else (a window, a recurrent state, an index), where rotations hang
on how much is forwarded at once, or where a user's hooks may count forwards or columns, all goes through in one forward.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from workbench.hooks import following, hooked_by_others
from workbench.model import MoEModel
from workbench.routing import CompiledPlan, Dose, note_prompt, prompt_length, standing_for

WORTH = 64
"""Tokens that a shared beginning has to save: it takes a forward of its own, which reads all weights."""
COPY_BYTES = 8 << 20
"""How large the copies that experts make of their tokens may get on a CPU."""
_BY_LENGTH = ("dynamic", "longrope")


class Start(NamedTuple):
    """What every sequence begins with: its cache, its columns, and each sequence's padding before it, int64 [rows]."""

    cache: Any
    columns: int
    padding: Tensor


@dataclass(frozen=True)
class Prefill:
    """Prompts into a model under a plan. `forward` is `Native._forward`; `dose` counts as if each sequence ran by itself."""

    model: MoEModel
    forward: Callable[..., Any]
    plan: CompiledPlan
    dose: Dose

    def begun(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Any] | None:
        """Next-token logits [rows, vocabulary] and the cache after left-padded prompts [rows, columns]; None: not this way."""
        if len(ids) == 1 or not promises_plain(self.model.hf):
            return None
        trial, logits, caches = self._counting(), list[Tensor](), list[Any]()
        for rows, out in trial.outputs(ids, mask, 1, use_cache=True):
            logits.append(out.logits[:, -1])
            caches.append(out.past_key_values)
            if rows != slice(0, len(ids)) and not is_plain(caches[-1]):
                return None
        self.dose.join(trial.dose)
        if len(caches) > 1:
            caches = [stacked(caches)]
            note_prompt(caches[0], ids, self.plan.span_ids)
        return torch.cat(logits), caches[0]

    def scored(self, ids: Tensor, mask: Tensor, own: int, ends: Sequence[int]) -> Tensor:
        """Log-probabilities [rows, own, vocabulary] at the last `own` columns; `ends` are the columns of each row's prompt."""
        found: Tensor | None = None
        for rows, out in self.outputs(ids, mask, own, ends, use_cache=False, logits_to_keep=own):
            part = out.logits[:, -own:]
            scores = part.new_empty(len(ids), *part.shape[1:], dtype=torch.float32) if found is None else found
            for row, logits in zip(range(len(ids))[rows], part, strict=True):
                torch.log_softmax(logits, -1, dtype=torch.float32, out=scores[row])
            found = scores
        assert found is not None
        return found

    def outputs(
        self, ids: Tensor, mask: Tensor, own: int, ends: Sequence[int] | None = None, **options: Any
    ) -> Iterator[tuple[slice, Any]]:
        """Which rows, and the model's output over their last columns: at least `own`, all that the rows do not share."""
        whole = not divides(self.model.hf)
        start = self._start(ids, mask, own) if not whole and promises_plain(self.model.hf) else None
        cut = 0 if start is None else start.columns
        for rows in [slice(0, len(ids))] if whole else row_slices(self.model, len(ids), ids.shape[1] - cut):
            if start is not None:
                past = behind(start.cache, start.padding[rows])
                note_prompt(past, ids[rows, :cut], self.plan.span_ids)
                options |= {"past_key_values": past, "use_cache": True}
            with self._in_force(), nullcontext() if ends is None else prompt_length(ends[rows]):
                out = self.forward(ids[rows, cut:], mask[rows], **options)
            yield rows, out

    def _counting(self) -> "Prefill":
        """The same with a dose of its own, for what may turn out not to be this way; of all its forwards, as of one."""
        dose = Dose(is_counting=self.dose.is_counting)
        dose.unlike.once = False
        return replace(self, dose=dose)

    def _in_force(self) -> AbstractContextManager[None]:
        return following(self.model.runtime, self.plan, self.dose)

    def _start(self, ids: Tensor, mask: Tensor, own: int) -> Start | None:
        padding = mask.shape[1] - mask.sum(1)
        columns = shared_columns(ids, padding, own)
        uses = (torch.arange(columns) < (columns - padding)[:, None]).sum(0)
        if int(uses.sum()) - columns < WORTH:
            return None
        longest, trial = int(padding.argmin()), self._counting()
        with trial._in_force(), standing_for(uses), prompt_length(columns):
            own_ids, own_mask = (given[longest : longest + 1, :columns] for given in (ids, mask))
            cache = self.forward(own_ids, own_mask, use_cache=True).past_key_values
        if not is_plain(cache):
            return None
        self.dose.join(trial.dose)
        return Start(cache, columns, padding)


def shared_columns(ids: Tensor, padding: Tensor, own: int) -> int:
    """Columns of left-padded ids [rows, columns] that hold what all rows begin with, but for the last `own` columns."""
    rows = [row[n:] for row, n in zip(ids.tolist(), padding.tolist(), strict=True)]
    first, last = min(rows), max(rows)  # in the order of words in a dictionary: what these two share, all do
    same = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(map(len, rows)))
    return max(0, min(same, ids.shape[1] - own))


def divides(hf: Any) -> bool:
    """Whether a batch of this model may go through it in several forwards."""
    config = getattr(hf.config, "get_text_config", lambda: hf.config)()
    return not hooked_by_others(hf) and not any(kind in _BY_LENGTH for kind in _rotations(config))


def _rotations(config: Any) -> Iterator[Any]:
    """The kinds of rotary embedding in a config: of the model, or of each kind of its layers."""
    given = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None)
    for found in (given, *given.values()) if isinstance(given, dict) else ():
        if isinstance(found, dict):
            yield found.get("rope_type", found.get("type"))


def is_plain(cache: Any) -> bool:
    """Whether the cache holds each sequence's keys and values, column by column, and nothing else."""
    return _of_plain_layers(cache) and all(layer.is_initialized for layer in cache.layers)


def promises_plain(hf: Any) -> bool:
    """Whether the cache that the model's config asks for is plain; what the model then makes of it is looked at too."""
    from transformers import DynamicCache

    return _of_plain_layers(DynamicCache(config=hf.config))


def _of_plain_layers(cache: Any) -> bool:
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer

    return type(cache) is DynamicCache and all(type(layer) is DynamicLayer for layer in cache.layers)


def behind(start: Any, padding: Tensor) -> Any:
    """The cache of one sequence as that of several, which begin with it behind their padding [rows]."""
    at = (torch.arange(start.get_seq_length()) - padding[:, None]).clamp(min=0)  # the mask hides what lies in padding

    def moved(kept: Tensor) -> Tensor:
        return kept[0][:, at.to(kept.device)].transpose(0, 1).contiguous()

    return _cache([(moved(layer.keys), moved(layer.values)) for layer in start.layers])


def stacked(caches: Sequence[Any]) -> Any:
    """The caches of some sequences and of others as one."""
    layers = [list(of) for of in zip(*(cache.layers for cache in caches), strict=True)]
    return _cache([(torch.cat([x.keys for x in of]), torch.cat([x.values for x in of])) for of in layers])


def _cache(pairs: list[tuple[Tensor, Tensor]]) -> Any:
    from transformers import DynamicCache

    return DynamicCache(pairs)


def row_slices(model: MoEModel, rows: int, columns: int) -> Iterator[slice]:
    """Rows that go through the model together, `columns` new ones each: on a CPU so many that no copy gets too large."""
    k = max((layer.top_k for layer in model.anatomy.layers), default=1)
    row = k * model.anatomy.hidden_size * model.dtype.itemsize * columns
    n = max(1, COPY_BYTES // max(1, row)) if _all_on_the_cpu(model) else rows
    return (slice(i, min(i + n, rows)) for i in range(0, rows, n))


def _all_on_the_cpu(model: MoEModel) -> bool:
    """Where some weights lie elsewhere they are brought for each forward, so forwards should be few."""
    places = set((getattr(model.hf, "hf_device_map", None) or {}).values())
    return torch.device(model.device).type == "cpu" and len(places) < 2
