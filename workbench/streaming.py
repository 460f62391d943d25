"""One answer, token by token, with what the router did for each: for a page that shows an answer as it is made."""

from collections.abc import Generator, Sequence
from contextlib import ExitStack
from contextvars import copy_context
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from workbench.dose import Dose
from workbench.plan import Plan
from workbench.positions import prompt_length
from workbench.record import ForwardRecord, Recorder, recording
from workbench.respond import encode_all
from workbench.sampling import stop_ids
from workbench.steer import steered

if TYPE_CHECKING:
    from workbench.model import MoEModel
    from workbench.prompts import PromptSet


class Candidate(NamedTuple):
    """A token that could have come: its id, its text and its probability at temperature 1."""

    id: int
    text: str
    probability: float


class StreamedToken(NamedTuple):
    """One generated token.

    chosen        the token, with its probability
    alternatives  the likeliest tokens, the likeliest first; `chosen` is among them when it was picked greedily
    routing       layer -> (expert, weight) of the forward that produced this token, which is the one at the position
                  before it, the strongest first; as the experts received it, so under a plan the steered routing
    is_end        it ends the answer and is not part of it
    """

    chosen: Candidate
    alternatives: tuple[Candidate, ...]
    routing: dict[int, tuple[tuple[int, float], ...]]
    is_end: bool


def stream(
    model: "MoEModel",
    prompts: "PromptSet",
    plan: Plan | None = None,
    *,
    max_new_tokens: int = 128,
    alternatives: int = 8,
    dose: Dose | None = None,
) -> Generator[StreamedToken, None, None]:
    """The greedy answer to the first of `prompts` under `plan`, token by token; the same tokens as `compare` gives.

    The caller is never steered: each step runs in a context of its own, so several streams of one model may take turns.
    Closing the iterator leaves the model as it was. Raises `WorkbenchError` for an impossible plan, or a prompt that does
    not fit into the context.
    """
    ids = encode_all(model, prompts, max_new_tokens)[0]
    context, steps = copy_context(), _steps(model, ids, plan or Plan(), max_new_tokens, alternatives, dose)
    try:
        while (token := context.run(next, steps, None)) is not None:
            yield token
    finally:
        context.run(steps.close)


def _steps(
    model: "MoEModel", ids: Sequence[int], plan: Plan, max_new_tokens: int, alternatives: int, dose: Dose | None
) -> Generator[StreamedToken, None, None]:
    with ExitStack() as stack:
        stack.enter_context(steered(model, plan, dose=dose))
        recorder = stack.enter_context(recording(model, keep=()))
        stack.enter_context(prompt_length(len(ids)))
        ends, given, cache = stop_ids(model), torch.tensor([list(ids)]), None
        for seen in range(len(ids), len(ids) + max_new_tokens):
            logits, record, cache = _forward(model, recorder, given, seen, cache)
            token = _token(model, logits, record, alternatives, ends)
            yield token
            if token.is_end:
                return
            given = torch.tensor([[token.chosen.id]])


def _forward(
    model: "MoEModel", recorder: Recorder, given: Tensor, seen: int, cache: object
) -> tuple[Tensor, ForwardRecord, object]:
    """One forward over new tokens [1, n]: logits [vocabulary] of the last, the record, the cache."""
    mask = torch.ones(1, seen, dtype=torch.long, device=model.device)
    with torch.no_grad():  # around the forward alone: gradients are the thread's, not the context's
        out = model.hf(input_ids=given.to(model.device), attention_mask=mask, past_key_values=cache, use_cache=True)
    return out.logits[0, -1].float(), recorder.take(), out.past_key_values


def _token(
    model: "MoEModel", logits: Tensor, record: ForwardRecord, alternatives: int, ends: frozenset[int]
) -> StreamedToken:
    best = logits.softmax(-1).topk(min(alternatives, logits.shape[-1]))
    found = tuple(
        Candidate(i, model.tokenizer.decode([i]), p)
        for i, p in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    )
    chosen = int(logits.argmax())
    first = next((c for c in found if c.id == chosen), found[0])
    return StreamedToken(
        first, found, {n: _last_row(x.index, x.weight) for n, x in record.layers.items()}, chosen in ends
    )


def _last_row(index: Tensor, weight: Tensor) -> tuple[tuple[int, float], ...]:
    pairs = zip(index[-1].tolist(), weight[-1].float().tolist(), strict=True)
    return tuple(sorted(pairs, key=lambda pair: -pair[1]))
