"""Forwards of a transformers model in this process, reached into by hooks: every edit, every record, every way to generate.

Each (prompt, sample) draws from a generator of its own, by inverting the cumulative distribution, so a response does not
depend on what else is in its batch (up to rounding).
"""

import inspect
from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from contextvars import copy_context
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor

from workbench.backends.backend import Batch, Capabilities, Keep, Ran
from workbench.backends.prefill import Prefill
from workbench.errors import WorkbenchError
from workbench.generation import Choosing, Decoding, decoded, padded
from workbench.hooks import check_here, following, outside_traces, recorded
from workbench.model import Facts, MoEModel
from workbench.records import KEEPS, Recorder, prompt_step
from workbench.routing import CompiledPlan, Dose


@dataclass
class Native:
    """The engine of a model that lies in this process, as it is now (`workbench.survey.known.as_it_is`)."""

    model: MoEModel
    can = Capabilities("native", keep=KEEPS, here=True)

    def __post_init__(self) -> None:
        check_here(self.model.runtime)
        tokenizer = self.model.tokenizer
        self.pad = tokenizer.pad_token_id if tokenizer is not None and tokenizer.pad_token_id is not None else 0

    @property
    def facts(self) -> Facts:
        """What is known of its model."""
        return self.model.facts

    def run(
        self,
        batch: Batch,
        plan: CompiledPlan,
        decoding: Decoding | None = None,
        keep: Keep | None = None,
        dose: Dose | None = None,
    ) -> Generator[Ran, None, None]:
        """See `Backend.run`: a portion for each forward."""
        return _apart(self._portions(batch, plan, decoding, keep, dose or Dose(is_counting=False)))

    def score(self, batch: Batch, plan: CompiledPlan) -> Tensor:
        """See `Backend.score`."""
        ids, mask = map(torch.from_numpy, padded(batch.rows, self.pad, left=True))
        ends = [ids.shape[1] - n for n in batch.read]
        prefill = Prefill(self.model, self._forward, plan, Dose(is_counting=False))
        return prefill.scored(ids, mask, max(batch.read) + 1, ends)

    def _portions(
        self, batch: Batch, plan: CompiledPlan, decoding: Decoding | None, keep: Keep | None, dose: Dose
    ) -> Generator[Ran, None, None]:
        with ExitStack() as stack:
            stack.enter_context(outside_traces("run"))
            stack.enter_context(following(self.model.runtime, plan, dose))
            recorder = None if keep is None else stack.enter_context(recorded(self.model.runtime, *keep))
            if decoding is None:
                yield self._read(batch.rows, recorder)
                return
            choosing = Choosing(self.model, batch.rows, decoding, batch.seeds)
            kernels = self._kernels if recorder is None else nullcontext
            prefill = None if recorder is not None else Prefill(self.model, self._forward, plan, dose)
            for step, made in decoded(partial(self._next_tokens, prefill), batch.rows, choosing, self.pad, kernels):
                yield Ran(step, None if recorder is None else recorder.take(), made)

    def _read(self, rows: Sequence[Sequence[int]], recorder: Recorder | None) -> Ran:
        """One forward over whole sequences, padded on the right."""
        ids, mask = padded(rows, self.pad, left=False)
        self._forward(torch.from_numpy(ids), None if mask.all() else torch.from_numpy(mask), use_cache=False)
        return Ran(prompt_step(mask), None if recorder is None else recorder.take())

    def _next_tokens(self, prefill: Prefill | None, ids: Tensor, mask: Tensor, past: Any) -> tuple[Tensor, Any]:
        begun = prefill.begun(ids, mask) if prefill is not None and past is None else None
        if begun is not None:
            return begun
        output = self._forward(ids, mask, use_cache=True, past_key_values=past)
        return output.logits[:, -1], output.past_key_values

    def _kernels(self) -> AbstractContextManager[Any]:
        """The kernels of single tokens that transformers' `generate` changes to, on devices where it does."""
        return getattr(self.model.hf, "_optimize_model_for_decode", nullcontext)()

    @cached_property
    def _accepted(self) -> frozenset[str]:
        return frozenset(inspect.signature(self.model.hf.forward).parameters)

    @torch.no_grad()
    def _forward(self, ids: Tensor, mask: Tensor | None, *, logits_to_keep: int = 1, **options: Any) -> Any:
        """The model's output over ids [rows, time] and their mask (None: nothing is padding), which spans the cache as well.

        logits_to_keep  the vocabulary's logits are not stored: only the last are ever looked at
        """
        device = self.model.device
        arguments: dict[str, Any] = {"input_ids": ids.to(device), **{k: v for k, v in options.items() if v is not None}}
        if mask is not None:
            arguments["attention_mask"] = mask.to(device)
            if "position_ids" in self._accepted:
                position = (mask.cumsum(1) - 1).clamp(min=0)
                arguments["position_ids"] = position[:, -ids.shape[1] :].to(device)
        if "logits_to_keep" in self._accepted:
            arguments["logits_to_keep"] = logits_to_keep
        try:
            return self.model.hf(**arguments)
        except torch.OutOfMemoryError as error:
            raise WorkbenchError(
                f"The device ran out of memory on {ids.shape[0]} sequences of {ids.shape[1]} tokens; use a smaller "
                f"batch_tokens. What a capture has complete stays, but a store with other batches needs another folder."
            ) from error


def _apart(portions: Generator[Ran, None, None]) -> Generator[Ran, None, None]:
    """The same portions, each made in one copied context: whoever takes them is steered and recorded by none of it."""
    context = copy_context()
    try:
        while (portion := context.run(next, portions, None)) is not None:
            yield portion
    finally:
        context.run(portions.close)
