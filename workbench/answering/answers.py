"""Greedy answers to many prompts, batched by length, under a plan or none."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from workbench.errors import WorkbenchError
from workbench.generation import Choosing, decoding_of, padded, schedule
from workbench.hooks import steered
from workbench.plan import Plan
from workbench.progress import Meter
from workbench.prompts import check_unanswered, encode, read_prompts
from workbench.routing import Dose, DoseCounts
from workbench.sampling import Forwards
from workbench.thinking import said

if TYPE_CHECKING:
    from workbench.model import MoEModel


class Answers(NamedTuple):
    """Response texts (`workbench.thinking.tokens.said`) and token ids, in the order of the prompts, and the dose.

    broken: by prompt, whether next-token logits that chose the answer were NaN or +infinity; such an answer says nothing.
    """

    texts: tuple[str, ...]
    ids: tuple[tuple[int, ...], ...]
    dose: DoseCounts
    broken: tuple[bool, ...] = ()


def encode_all(model: "MoEModel", prompts: Any, max_new_tokens: int) -> list[tuple[int, ...]]:
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


def padded_batch(model: "MoEModel", rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Ids and attention mask [rows, longest] on the model's device, padded on the left."""
    ids, mask = padded(rows, pad_id(model), left=True)
    return torch.from_numpy(ids).to(model.device), torch.from_numpy(mask).to(model.device)


def pad_id(model: "MoEModel") -> int:
    """The padding id, or 0: padding is masked, so which one it is changes nothing."""
    return getattr(model.tokenizer, "pad_token_id", None) or 0


@torch.no_grad()
def answer(
    model: "MoEModel",
    encoded: Sequence[Sequence[int]],
    plan: Plan,
    max_new_tokens: int,
    batch_tokens: int,
    meter: Meter | None = None,
) -> Answers:
    """Greedy answers of up to `max_new_tokens` tokens under `plan`, and its dose; `meter` hears of every step."""
    if max_new_tokens < 1:
        raise WorkbenchError(f"Answers of max_new_tokens={max_new_tokens} hold nothing; give a number of at least 1.")
    dose, found, how = Dose(), dict[int, tuple[int, ...]](), decoding_of(model, max_new_tokens)
    broken, forwards, meter = set[int](), Forwards(model), meter or Meter(0, None)
    for chosen in schedule([len(ids) for ids in encoded], batch_tokens, extra=max_new_tokens).batches:
        rows = [encoded[i] for i in chosen]
        choosing = Choosing(model, rows, how)
        with steered(model, plan, dose=dose):
            forwards.decode(rows, choosing, lambda step: meter.forwarded(len(step.rows)), lambda: _kernels(model))
        responses = choosing.responses()
        broken |= {i for i, r in zip(chosen, responses, strict=True) if np.isnan(r.logprobs).any()}
        made = [response.ids for response in responses]
        meter.skip(sum(1 + max_new_tokens - len(ids) for ids in made))  # the last token is never forwarded
        found |= {i: ids[:-1] if ids[-1] in how.stop else ids for i, ids in zip(chosen, made, strict=True)}
    ordered = tuple(found[i] for i in range(len(encoded)))
    texts = tuple(decode(model, row, after=prompt) for row, prompt in zip(ordered, encoded, strict=True))
    return Answers(texts, ordered, dose.counts(), tuple(i in broken for i in range(len(encoded))))


def _kernels(model: "MoEModel") -> AbstractContextManager[Any]:
    """The kernels of single tokens that transformers' `generate` changes to, on devices where it does."""
    return getattr(model.hf, "_optimize_model_for_decode", nullcontext)()


def decode(model: "MoEModel", ids: Sequence[int], after: Sequence[int] = ()) -> str:
    """The text of an answer, decoded as a whole; special tokens are left out, except the markers of thoughts and channels.

    after  the prompt's ids, of `encode_all`: where its template opened a thought the text begins with that marker
    """
    return said(model.tokenizer, ids, getattr(after, "opened", ""))
