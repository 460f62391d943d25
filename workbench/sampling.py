"""Forwards of one batch: over whole sequences, or generating with our own decode loop so that every step is recorded.

Batches that generate are padded on the left and decode with a cache. Each (prompt, sample) draws from a generator of its
own, by inverting the cumulative distribution, so a response does not depend on what else is in its batch (up to rounding).
The last generated token is never forwarded: it has no routing.
"""

import inspect
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from workbench.errors import WorkbenchError
from workbench.generation import Choosing, Decoding, Response, padded
from workbench.records import Chunk, Harvest, Recorder, Step, decode_step, prompt_step
from workbench.routing import prompt_length

if TYPE_CHECKING:
    from workbench.model import MoEModel


@dataclass
class Forwards:
    """A model's forwards over padded ids [rows, time] and their mask (None: nothing is padding)."""

    model: "MoEModel"

    def __post_init__(self) -> None:
        self.accepted = frozenset(inspect.signature(self.model.hf.forward).parameters)
        tokenizer = self.model.tokenizer
        self.pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0

    def __call__(self, ids: Tensor, mask: Tensor | None, *, use_cache: bool, past: Any = None) -> Any:
        """The model's output; `past` is the cache of what came before, and the mask spans both."""
        device = self.model.device
        arguments: dict[str, Any] = {"input_ids": ids.to(device), "use_cache": use_cache}
        if mask is not None:
            arguments["attention_mask"] = mask.to(device)
            if "position_ids" in self.accepted:
                position = (mask.cumsum(1) - 1).clamp(min=0)
                arguments["position_ids"] = position[:, -ids.shape[1] :].to(device)
        if past is not None:
            arguments["past_key_values"] = past
        if "logits_to_keep" in self.accepted:
            arguments["logits_to_keep"] = 1  # the vocabulary's logits are not stored: only the last are ever looked at
        try:
            return self.model.hf(**arguments)
        except torch.OutOfMemoryError as error:
            raise WorkbenchError(
                f"The device ran out of memory on {ids.shape[0]} sequences of {ids.shape[1]} tokens; use a smaller "
                f"batch_tokens. What a capture has complete stays, but a store with other batches needs another folder."
            ) from error

    def decode(
        self,
        rows: Sequence[Sequence[int]],
        choosing: Choosing,
        seen: Callable[[Step], None],
        kernels: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> None:
        """Prefill and one forward per chosen token, until no row goes on; `seen` is called after each forward.

        kernels  entered while single tokens are forwarded
        """
        ids, mask = padded(rows, self.pad, left=True)
        with prompt_length(ids.shape[1]):
            output = self(torch.from_numpy(ids), torch.from_numpy(mask), use_cache=True)
            seen(prompt_step(mask))
            lengths, alive = mask.sum(1), choosing.choose(output.logits[:, -1])
            with kernels():
                while alive.any():
                    mask = np.concatenate([mask, alive[:, None].astype(np.int64)], 1)  # what follows an end is padding
                    step = decode_step(alive, lengths + choosing.n_steps - 1)
                    past = output.past_key_values
                    output = self(choosing.last[:, None], torch.from_numpy(mask), use_cache=True, past=past)
                    seen(step)
                    alive = choosing.choose(output.logits[:, -1])


@dataclass
class Runner:
    """Runs batches through a model while `recorder` looks on. `forwarded(n)` is called with the real tokens of each."""

    model: "MoEModel"
    recorder: Recorder
    forwarded: Callable[[int], None]

    def __post_init__(self) -> None:
        self.forwards = Forwards(self.model)

    def over(self, rows: Sequence[Sequence[int]]) -> Chunk:
        """One forward over whole sequences, padded on the right."""
        ids, mask = padded(rows, self.forwards.pad, left=False)
        harvest = Harvest()
        everything = mask.all()
        self.forwards(torch.from_numpy(ids), None if everything else torch.from_numpy(mask), use_cache=False)
        harvest.add(self.recorder.take(), prompt_step(mask))
        self.forwarded(int(mask.sum()))
        return harvest.finish()

    def generate(
        self, rows: Sequence[Sequence[int]], seeds: Sequence[int], decoding: Decoding
    ) -> tuple[Chunk, list[Response]]:
        """Prefill and decode; the chunk holds the prompts and every generated token but the last of each response."""
        harvest, choosing = Harvest(), Choosing(self.model, rows, decoding, seeds)

        def seen(step: Step) -> None:
            harvest.add(self.recorder.take(), step)
            self.forwarded(len(step.rows))

        self.forwards.decode(rows, choosing, seen)
        return harvest.finish(), choosing.responses()
