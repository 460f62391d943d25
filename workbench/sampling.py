"""Forwards of one batch: over whole sequences, or generating with our own decode loop so that every step is recorded.

Batches that generate are padded on the left and decode with a cache. Each (prompt, sample) draws from a generator of its
own, by inverting the cumulative distribution, so a response does not depend on what else is in its batch (up to rounding).
The last generated token is never forwarded: it has no routing.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from workbench.batches import padded
from workbench.errors import WorkbenchError
from workbench.harvest import Chunk, Harvest, decode_step, prompt_step
from workbench.positions import prompt_length
from workbench.record import Recorder

if TYPE_CHECKING:
    from workbench.model import MoEModel


class Response(NamedTuple):
    """Generated token ids, the end-of-text token included, and the model's log-probability of each (at temperature 1)."""

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]


@dataclass(frozen=True)
class Decoding:
    """How to generate: at most `tokens` tokens, greedily at temperature 0, until one of `stop`."""

    tokens: int
    temperature: float = 0.0
    stop: frozenset[int] = field(default_factory=frozenset[int])


@dataclass
class Runner:
    """Runs batches through a model while `recorder` looks on. `forwarded(n)` is called with the real tokens of each."""

    model: "MoEModel"
    recorder: Recorder
    forwarded: Callable[[int], None]

    def __post_init__(self) -> None:
        self.accepted = frozenset(inspect.signature(self.model.hf.forward).parameters)
        tokenizer = self.model.tokenizer
        self.pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0

    def over(self, rows: Sequence[Sequence[int]]) -> Chunk:
        """One forward over whole sequences, padded on the right."""
        ids, mask = padded(rows, self.pad, left=False)
        harvest = Harvest()
        everything = mask.all()
        self._forward(torch.from_numpy(ids), None if everything else torch.from_numpy(mask), use_cache=False)
        harvest.add(self.recorder.take(), prompt_step(mask))
        self.forwarded(int(mask.sum()))
        return harvest.finish()

    def generate(
        self, rows: Sequence[Sequence[int]], seeds: Sequence[int], decoding: Decoding
    ) -> tuple[Chunk, list[Response]]:
        """Prefill and decode; the chunk holds the prompts and every generated token but the last of each response."""
        ids, mask = padded(rows, self.pad, left=True)
        harvest, state = Harvest(), _Decoding(len(rows), seeds, decoding)
        with prompt_length(ids.shape[1]):
            output = self._forward(torch.from_numpy(ids), torch.from_numpy(mask), use_cache=True)
            harvest.add(self.recorder.take(), prompt_step(mask))
            self.forwarded(int(mask.sum()))
            lengths, alive = mask.sum(1), state.choose(output.logits[:, -1])
            while alive.any():
                mask = np.concatenate([mask, np.ones((len(rows), 1), np.int64)], 1)
                step = decode_step(alive, lengths + state.n_steps - 1)
                output = self._forward(
                    state.last[:, None], torch.from_numpy(mask), use_cache=True, past=output.past_key_values
                )
                harvest.add(self.recorder.take(), step)
                self.forwarded(len(step.rows))
                alive = state.choose(output.logits[:, -1])
        return harvest.finish(), state.responses()

    def _forward(self, ids: Tensor, mask: Tensor | None, *, use_cache: bool, past: Any = None) -> Any:
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
                f"The device ran out of memory on {ids.shape[0]} sequences of {ids.shape[1]} tokens; capture with a "
                f"smaller batch_tokens. What is complete stays, but a store with other batches needs another folder."
            ) from error


class _Decoding:
    """The state of a generating batch: what was chosen so far, and who goes on."""

    def __init__(self, n: int, seeds: Sequence[int], decoding: Decoding) -> None:
        self.how, self.n_steps = decoding, 0
        self.alive = np.ones(n, bool)
        self.ids: list[np.ndarray] = []
        self.logprobs: list[np.ndarray] = []
        self.lengths = np.zeros(n, np.int64)
        self.last = torch.zeros(n, dtype=torch.long)
        self.draws = torch.stack([_draws(seed, decoding.tokens) for seed in seeds]) if decoding.temperature else None

    def choose(self, logits: Tensor) -> np.ndarray:
        """Chooses each sequence's next token from logits [n, vocabulary]; returns which sequences go on."""
        logits = logits.float()
        chosen = logits.argmax(-1) if self.draws is None else self._drawn(logits)
        logprob = logits.log_softmax(-1).gather(-1, chosen[:, None])[:, 0]
        self.last = chosen
        self.ids.append(chosen.cpu().numpy())
        self.logprobs.append(logprob.cpu().numpy())
        self.lengths += self.alive
        self.n_steps += 1
        self.alive = self.alive & ~np.isin(self.ids[-1], list(self.how.stop)) & (self.n_steps < self.how.tokens)
        return self.alive

    def _drawn(self, logits: Tensor) -> Tensor:
        assert self.draws is not None
        below = (logits.double() / self.how.temperature).softmax(-1).cumsum(-1)
        draw = self.draws[:, self.n_steps].to(logits.device) * below[:, -1]  # the sum is 1 only up to rounding
        return torch.searchsorted(below, draw[:, None], right=True)[:, 0].clamp(max=logits.shape[-1] - 1)

    def responses(self) -> list[Response]:
        """What each sequence generated."""
        ids, logprobs = np.stack(self.ids, 1), np.stack(self.logprobs, 1)
        return [
            Response(tuple(int(i) for i in ids[row, :n]), tuple(float(p) for p in logprobs[row, :n]))
            for row, n in enumerate(self.lengths)
        ]


def _draws(seed: int, n: int) -> Tensor:
    """[n] uniform numbers in [0, 1), float64, from a generator of their own."""
    return torch.rand(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def stop_ids(model: "MoEModel") -> frozenset[int]:
    """The tokens that end a response: of the generation config, else the model's, else the tokenizer's."""
    configs = (getattr(model.hf, "generation_config", None), model.hf.config, model.tokenizer)
    given = (getattr(config, "eos_token_id", None) for config in configs)
    found = next((ids for ids in given if ids is not None), None)
    ids = found if isinstance(found, list | tuple) else [found]
    return frozenset(int(i) for i in ids if i is not None)
