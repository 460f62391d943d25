"""One answer, token by token, with what the router did for each: for a page that shows an answer as it is made."""

from collections.abc import Generator, Sequence
from contextlib import ExitStack
from contextvars import copy_context
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from workbench.answering.answers import encode_all
from workbench.generation import Choosing, Decoding, decoding_of
from workbench.hooks import recording, steered
from workbench.plan import Plan
from workbench.records import ForwardRecord
from workbench.routing import Dose, prompt_length
from workbench.sampling import Forwards
from workbench.thinking import Growing

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
    alternatives  the likeliest tokens by the model's own logits, the likeliest first; `chosen` is the first of them unless
                  the checkpoint's generation config (a penalty, say) would have another token
    routing       layer -> (expert, weight) of the forward that produced this token, which is the one at the position
                  before it, the strongest first; as the experts received it, so under a plan the steered routing
    is_end        it ends the answer and is not part of it
    text          what it adds to the answer: joined they are its text. "" within a character of several tokens, which the
                  last of them adds (`chosen.text` is the token by itself, where such a character cannot be read)
    """

    chosen: Candidate
    alternatives: tuple[Candidate, ...]
    routing: dict[int, tuple[tuple[int, float], ...]]
    is_end: bool
    text: str = ""


def stream(
    model: "MoEModel",
    prompts: "PromptSet",
    plan: Plan | None = None,
    *,
    max_new_tokens: int = 128,
    alternatives: int = 8,
    dose: Dose | None = None,
) -> Generator[StreamedToken, None, None]:
    """The greedy answer to the first of `prompts` under `plan`, token by token; the same tokens as `compare` gives (see
    `workbench.generation.decoding`).

    The caller is never steered: each step runs in a context of its own, so several streams of one model may take turns.
    Closing the iterator leaves the model as it was. Raises `WorkbenchError` for an impossible plan, or a prompt that does
    not fit into the context.
    """
    ids, how = encode_all(model, prompts, max_new_tokens)[0], decoding_of(model, max_new_tokens)
    context, steps = copy_context(), _steps(model, ids, plan or Plan(), how, alternatives, dose)
    try:
        while (token := context.run(next, steps, None)) is not None:
            yield token
    finally:
        context.run(steps.close)


def _steps(
    model: "MoEModel", ids: Sequence[int], plan: Plan, how: Decoding, alternatives: int, dose: Dose | None
) -> Generator[StreamedToken, None, None]:
    with ExitStack() as stack:
        stack.enter_context(steered(model, plan, dose=dose))
        recorder = stack.enter_context(recording(model, keep=()))
        stack.enter_context(prompt_length(len(ids)))
        choosing, forwards, growing = Choosing(model, [ids], how), Forwards(model), Growing(model.tokenizer)
        given, mask, cache, going = (
            torch.tensor([list(ids)]),
            torch.ones(1, len(ids), dtype=torch.long),
            None,
            how.tokens > 0,
        )
        while going:
            with torch.no_grad():  # around the forward alone: gradients are the thread's, not the context's
                out = forwards(given, mask, use_cache=True, past=cache)
            logits, cache = out.logits[:, -1].float(), out.past_key_values
            going = bool(choosing.choose(logits)[0])
            given, mask = choosing.last[:, None], torch.cat([mask, mask.new_ones(1, 1)], 1)
            made = _token(model, logits[0], int(given), recorder.take(), alternatives, how.stop)
            yield made._replace(text=growing.add(int(given), is_last=not going))


def _token(
    model: "MoEModel", logits: Tensor, chosen: int, record: ForwardRecord, alternatives: int, ends: frozenset[int]
) -> StreamedToken:
    share = logits.softmax(-1)
    best = share.topk(min(alternatives, len(share)))
    found = tuple(_candidate(model, i, p) for i, p in zip(best.indices.tolist(), best.values.tolist(), strict=True))
    routing = {n: _last_row(x.index, x.weight) for n, x in record.layers.items()}
    return StreamedToken(_candidate(model, chosen, float(share[chosen])), found, routing, chosen in ends)


def _candidate(model: "MoEModel", token: int, probability: float) -> Candidate:
    return Candidate(token, model.tokenizer.decode([token]), probability)


def _last_row(index: Tensor, weight: Tensor) -> tuple[tuple[int, float], ...]:
    pairs = zip(index[-1].tolist(), weight[-1].float().tolist(), strict=True)
    return tuple(sorted(pairs, key=lambda pair: -pair[1]))
