"""One answer, token by token, with what the router did for each: for a page that shows an answer as it is made."""

from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import replace
from math import exp
from typing import Any, NamedTuple

from workbench.answering.answers import encode_all
from workbench.backends import Batch, Keep, Ran, arm_of, check_decoding
from workbench.generation import decoding_of
from workbench.model import MoEModel
from workbench.plan import Plan
from workbench.prompts import PromptSet
from workbench.records import LayerRecord
from workbench.routing import Dose, slots_per_token
from workbench.thinking import Growing


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
                  before it, the strongest first; as the experts received it, so under a plan the steered routing. Empty
                  where the model's engine does not say which experts it selects
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
    model: MoEModel,
    prompts: PromptSet,
    plan: Plan | None = None,
    *,
    max_new_tokens: int = 128,
    alternatives: int = 8,
    dose: Dose | None = None,
) -> Generator[StreamedToken, None, None]:
    """The greedy answer to the first of `prompts` under `plan`, token by token; the same tokens as `compare` gives (see
    `workbench.generation.decoding`).

    The caller is never steered, so several streams of one model may take turns. Closing the iterator leaves the model as it
    was. Raises `WorkbenchError` for an impossible plan, or a prompt that does
    not fit into the context.
    """
    ids = encode_all(model, prompts, max_new_tokens)[0]
    if max_new_tokens < 1:
        return
    backend, compiled = arm_of(model, plan)
    how = replace(decoding_of(model, max_new_tokens), alternatives=alternatives)
    check_decoding(backend, how)
    keep = None if backend.can.keep is None else Keep()
    if dose is not None:
        dose.slots_per_token = slots_per_token(model.anatomy)
    growing = Growing(model.tokenizer)
    with closing(backend.run(Batch([ids]), compiled, how, keep, dose)) as portions:
        for portion in portions:
            yield from _tokens(portion, growing, how.stop)


def _tokens(portion: Ran, growing: Growing, ends: frozenset[int]) -> Iterator[StreamedToken]:
    """What a portion adds to the answer."""
    made, layers = portion.made, portion.record.layers if portion.record is not None else {}
    if made is None:
        return
    rows = portion.where.rows[-len(made.id) :]  # each token was made by the forward of the position before it
    for n, (row, token) in enumerate(zip(rows, made.id.tolist(), strict=True)):
        chosen = _candidate(growing.tokenizer, token, made.logprob[n])
        pairs = () if made.likeliest is None else zip(*(part[n].tolist() for part in made.likeliest), strict=True)
        likeliest = tuple(_candidate(growing.tokenizer, i, logprob) for i, logprob in pairs)
        routing = {layer: _row(record, row) for layer, record in layers.items()}
        text = growing.add(token, is_last=bool(made.ends[n]))
        yield StreamedToken(chosen, likeliest, routing, token in ends, text)


def _candidate(tokenizer: Any, token: int, logprob: float) -> Candidate:
    return Candidate(token, tokenizer.decode([token]), exp(logprob))


def _row(layer: LayerRecord, row: int) -> tuple[tuple[int, float], ...]:
    pairs = zip(layer.index[row].tolist(), layer.weight[row].float().tolist(), strict=True)
    return tuple(sorted(pairs, key=lambda pair: -pair[1]))
