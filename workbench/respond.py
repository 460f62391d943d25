"""Greedy answers to many prompts, batched by length, under a plan or none."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from workbench.batches import padded, schedule
from workbench.dose import Dose, DoseCounts
from workbench.encoding import encode
from workbench.errors import WorkbenchError
from workbench.plan import Plan
from workbench.progress import Meter
from workbench.sampling import stop_ids
from workbench.steer import steered

if TYPE_CHECKING:
    from workbench.model import MoEModel
    from workbench.prompts import PromptSet


class Answers(NamedTuple):
    """Response texts (special tokens but <think> left out) and token ids, in the order of the prompts, and the dose.

    broken: by prompt, whether next-token logits that chose the answer were NaN or +infinity; such an answer says nothing.
    """

    texts: tuple[str, ...]
    ids: tuple[tuple[int, ...], ...]
    dose: DoseCounts
    broken: tuple[bool, ...] = ()


def encode_all(model: "MoEModel", prompts: "PromptSet", max_new_tokens: int) -> list[tuple[int, ...]]:
    """Token ids of every prompt, after checking that each fits into the context with its answer."""
    if model.tokenizer is None:
        raise WorkbenchError(
            "This model was loaded without a tokenizer, so prompts cannot be read; pass load(..., tokenizer)."
        )
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
    dose, found, ends = Dose(), dict[int, tuple[int, ...]](), stop_ids(model)
    broken = dict[int, bool]()
    for chosen in schedule([len(ids) for ids in encoded], batch_tokens, extra=max_new_tokens).batches:
        ids, mask = padded_batch(model, [encoded[i] for i in chosen])
        steps = _Steps(meter, [len(encoded[i]) for i in chosen], max_new_tokens)
        watch = _Watch()
        with steered(model, plan, dose=dose):
            out = model.hf.generate(
                input_ids=ids,
                attention_mask=mask,
                max_new_tokens=max_new_tokens,
                do_sample=False,
                pad_token_id=pad_id(model),
                eos_token_id=sorted(ends) or None,
                stopping_criteria=[] if meter is None else [steps],
                logits_processor=[watch],
            )
        steps.end()
        for i, row in zip(chosen, out[:, ids.shape[1] :].tolist(), strict=True):
            found[i] = tuple(row[: next((n for n, token in enumerate(row) if token in ends), len(row))])
        bad = watch.bad()
        broken |= {i: bool(bad[: len(found[i]) + 1, row].any()) for row, i in enumerate(chosen)}
    ordered = tuple(found[i] for i in range(len(encoded)))
    is_broken = tuple(broken[i] for i in range(len(encoded)))
    return Answers(tuple(decode(model, row) for row in ordered), ordered, dose.counts(), is_broken)


class _Watch:
    """Changes no logits: notes which sequences' next-token logits are NaN or +infinity, step by step."""

    def __init__(self) -> None:
        self.steps: list[Tensor] = []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        self.steps.append((scores.isnan() | (scores == torch.inf)).any(-1))
        return scores

    def bad(self) -> np.ndarray:
        """Bool [steps, sequences]."""
        return torch.stack(self.steps).cpu().numpy() if self.steps else np.zeros((0, 0), bool)


class _Steps:
    """Stops nothing: `generate` asks its stopping criteria after every step, so here the steps can be counted."""

    def __init__(self, meter: Meter | None, lengths: Sequence[int], max_new_tokens: int) -> None:
        self.meter, self.rows = meter, len(lengths)
        self.prompt, self.left = sum(lengths), len(lengths) * max_new_tokens

    def __call__(self, input_ids: Tensor, scores: object, **_: object) -> Tensor:
        if self.meter is not None:
            self.meter.forwarded(self.prompt + self.rows)
        self.prompt, self.left = 0, self.left - self.rows
        return torch.zeros(self.rows, dtype=torch.bool, device=input_ids.device)

    def end(self) -> None:
        """What was not generated will not come."""
        if self.meter is not None:
            self.meter.skip(self.left)


def decode(model: "MoEModel", ids: Sequence[int]) -> str:
    """The text of an answer; special tokens are left out, except <think> and </think>."""
    tokenizer = model.tokenizer
    marks = {tokenizer.convert_tokens_to_ids(token) for token in ("<think>", "</think>")}
    hidden = set(tokenizer.all_special_ids) - marks
    return tokenizer.decode([i for i in ids if i not in hidden], skip_special_tokens=False).strip()
