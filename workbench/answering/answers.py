"""Greedy answers to many prompts, batched by length, under a plan or none."""

from collections.abc import Sequence
from contextlib import closing
from typing import Any, NamedTuple

import numpy as np

from workbench.backends import Backend, Batch, arm_of, check_decoding
from workbench.errors import WorkbenchError
from workbench.generation import Decoding, Generated, Made, decoding_of, generated, schedule
from workbench.model import MoEModel
from workbench.plan import Plan
from workbench.progress import Meter
from workbench.prompts import check_unanswered, encode, read_prompts
from workbench.routing import CompiledPlan, Dose, DoseCounts, slots_per_token
from workbench.thinking import said


class Answers(NamedTuple):
    """Response texts (`workbench.thinking.tokens.said`) and token ids, in the order of the prompts, and the dose.

    broken: by prompt, whether next-token logits that chose the answer were NaN or +infinity; such an answer says nothing.
    """

    texts: tuple[str, ...]
    ids: tuple[tuple[int, ...], ...]
    dose: DoseCounts
    broken: tuple[bool, ...] = ()


def encode_all(model: MoEModel, prompts: Any, max_new_tokens: int) -> list[tuple[int, ...]]:
    """Token ids of every prompt, after checking that each can be answered and fits into the context with its answer."""
    if model.tokenizer is None:
        raise WorkbenchError(
            "This model was loaded without a tokenizer, so prompts cannot be read; pass load(..., tokenizer)."
        )
    prompts = read_prompts(prompts)
    if max_new_tokens:
        check_unanswered(prompts)
        decoding_of(model, max_new_tokens)
    encoded, limit = encode(model.tokenizer, prompts, model.image_token), model.anatomy.context_length
    for prompt in encoded:
        if limit is not None and len(prompt.ids) + max_new_tokens > limit:
            raise WorkbenchError(
                f"The prompt '{prompt.id}' has {len(prompt.ids)} tokens and {max_new_tokens} to generate, and "
                f"{model.anatomy.model} takes {limit}; shorten it or leave it out."
            )
    return [prompt.ids for prompt in encoded]


def answer(
    model: MoEModel,
    encoded: Sequence[Sequence[int]],
    plan: Plan,
    max_new_tokens: int,
    batch_tokens: int,
    meter: Meter | None = None,
) -> Answers:
    """Greedy answers of up to `max_new_tokens` tokens under `plan`, and its dose; `meter` hears of every step."""
    if max_new_tokens < 1:
        raise WorkbenchError(f"Answers of max_new_tokens={max_new_tokens} hold nothing; give a number of at least 1.")
    (backend, compiled), how = arm_of(model, plan), decoding_of(model, max_new_tokens)
    check_decoding(backend, how)
    dose, meter = Dose(slots_per_token(model.anatomy)), meter or Meter(0, None)
    found = dict[int, Generated]()
    for chosen in schedule([len(ids) for ids in encoded], batch_tokens, extra=max_new_tokens).batches:
        made = _responses(backend, [encoded[i] for i in chosen], compiled, how, dose, meter)
        meter.skip(sum(1 + max_new_tokens - len(r.ids) for r in made))  # the last token is never forwarded
        found |= dict(zip(chosen, made, strict=True))
    ordered = [found[i] for i in range(len(encoded))]
    ids = tuple(r.ids[:-1] if r.ids[-1] in how.stop else r.ids for r in ordered)
    texts = said(model.tokenizer, ids, [getattr(prompt, "opened", "") for prompt in encoded])
    return Answers(tuple(texts), ids, dose.counts(), tuple(bool(np.isnan(r.logprobs).any()) for r in ordered))


def _responses(
    backend: Backend, rows: Sequence[Sequence[int]], plan: CompiledPlan, how: Decoding, dose: Dose, meter: Meter
) -> list[Generated]:
    made = list[Made]()
    with closing(backend.run(Batch(rows), plan, how, dose=dose)) as portions:
        for portion in portions:
            meter.forwarded(len(portion.where.rows))
            made += [] if portion.made is None else [portion.made]
    return generated(made, len(rows))


def decode(model: MoEModel, ids: Sequence[int], after: Sequence[int] = ()) -> str:
    """The text of an answer, decoded as a whole; special tokens are left out, except the markers of thoughts and channels.

    after  the prompt's ids, of `encode_all`: where its template opened a thought the text begins with that marker
    """
    return said(model.tokenizer, [ids], [getattr(after, "opened", "")])[0]
