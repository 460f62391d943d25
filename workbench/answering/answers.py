"""Greedy answers to many prompts, batched by length, under a plan or none."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from workbench.backends import Backend, Batch, Ran, arm_of, check_decoding
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
    return next(answer_each(model, encoded, [plan], max_new_tokens, batch_tokens, meter))


def answer_each(
    model: MoEModel,
    encoded: Sequence[Sequence[int]],
    plans: Sequence[Plan],
    max_new_tokens: int,
    batch_tokens: int,
    meter: Meter | None = None,
) -> Iterator[Answers]:
    """The same under each of several plans, in their order. An engine that can has all of them in it at once."""
    if max_new_tokens < 1:
        raise WorkbenchError(f"Answers of max_new_tokens={max_new_tokens} hold nothing; give a number of at least 1.")
    arms, how = [arm_of(model, plan) for plan in plans], decoding_of(model, max_new_tokens)
    check_decoding(arms[0][0], how)
    asked = _Asked(model, encoded, how, meter or Meter(0, None))
    if len(arms) > 1 and arms[0][0].can.together:
        yield from asked.together(arms[0][0], [compiled for _, compiled in arms])
        return
    for backend, compiled in arms:
        yield asked.alone(backend, compiled, batch_tokens)


@dataclass(frozen=True)
class _Asked:
    """What every arm is asked."""

    model: MoEModel
    encoded: Sequence[Sequence[int]]
    how: Decoding
    meter: Meter

    def alone(self, backend: Backend, plan: CompiledPlan, batch_tokens: int) -> Answers:
        """Under one plan, in batches of similar length."""
        found, dose = dict[int, Generated](), self._dose()
        lengths = [len(ids) for ids in self.encoded]
        for chosen in schedule(lengths, batch_tokens, extra=self.how.tokens).batches:
            batch = Batch([self.encoded[i] for i in chosen])
            made = self._responses(backend.run(batch, plan, self.how, dose=dose), len(chosen))
            found |= dict(zip(chosen, made, strict=True))
        return self._answers([found[i] for i in range(len(self.encoded))], dose)

    def together(self, backend: Any, plans: Sequence[CompiledPlan]) -> list[Answers]:
        """Under several plans, in the one batch that the engine schedules by itself."""
        n, doses = len(self.encoded), [self._dose() for _ in plans]
        batch = Batch([ids for _ in plans for ids in self.encoded])
        each = [[part for part in parts for _ in range(n)] for parts in (plans, doses)]
        made = self._responses(backend.run_each(batch, each[0], self.how, doses=each[1]), len(batch.rows))
        return [self._answers(made[at * n : (at + 1) * n], dose) for at, dose in enumerate(doses)]

    def _dose(self) -> Dose:
        return Dose(slots_per_token(self.model.anatomy))

    def _responses(self, running: Generator[Ran, None, None], n_rows: int) -> list[Generated]:
        made = list[Made]()
        with closing(running) as portions:
            for portion in portions:
                self.meter.forwarded(len(portion.where.rows))
                made += [] if portion.made is None else [portion.made]
        found = generated(made, n_rows)
        self.meter.skip(sum(1 + self.how.tokens - len(r.ids) for r in found))  # the last token is never forwarded
        return found

    def _answers(self, found: Sequence[Generated], dose: Dose) -> Answers:
        ids = tuple(r.ids[:-1] if r.ids[-1] in self.how.stop else r.ids for r in found)
        texts = said(self.model.tokenizer, ids, [getattr(prompt, "opened", "") for prompt in self.encoded])
        return Answers(tuple(texts), ids, dose.counts(), tuple(bool(np.isnan(r.logprobs).any()) for r in found))


def decode(model: MoEModel, ids: Sequence[int], after: Sequence[int] = ()) -> str:
    """The text of an answer, decoded as a whole; special tokens are left out, except the markers of thoughts and channels.

    after  the prompt's ids, of `encode_all`: where its template opened a thought the text begins with that marker
    """
    return said(model.tokenizer, [ids], [getattr(after, "opened", "")])[0]
