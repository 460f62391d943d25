"""Greedy answers to many prompts, batched by length, under a plan or none."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from workbench.dose import Dose, DoseCounts
from workbench.encode import check_lengths, encode_prompt
from workbench.plan import Plan
from workbench.steer import steered

if TYPE_CHECKING:
    from workbench.model import MoEModel
    from workbench.prompts import PromptSet


class Answers(NamedTuple):
    """Response texts (special tokens but <think> left out) and token ids, in the order of the prompts, and the dose."""

    texts: tuple[str, ...]
    ids: tuple[tuple[int, ...], ...]
    dose: DoseCounts


def encode_all(model: "MoEModel", prompts: "PromptSet", max_new_tokens: int) -> list[list[int]]:
    """Token ids of every prompt, after checking that each fits with its answer."""
    encoded = [encode_prompt(model.tokenizer, p) for p in prompts]
    lengths = {p.id: len(ids) for p, ids in zip(prompts, encoded, strict=True)}
    check_lengths(lengths, max_new_tokens, model.anatomy.context_length, model.anatomy.model)
    return encoded


def batches(encoded: Sequence[Sequence[int]], batch_size: int) -> Iterator[list[int]]:
    """Indices of prompts, longest first (so that memory runs out at once or never), `batch_size` at a time."""
    order = sorted(range(len(encoded)), key=lambda i: -len(encoded[i]))
    return (order[i : i + batch_size] for i in range(0, len(order), batch_size))


def left_padded(rows: Sequence[Sequence[int]], pad: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Ids and attention mask [rows, longest], padding on the left."""
    longest = max(map(len, rows))
    ids = torch.tensor([[pad] * (longest - len(r)) + list(r) for r in rows], device=device)
    mask = torch.tensor([[0] * (longest - len(r)) + [1] * len(r) for r in rows], device=device)
    return ids, mask


@torch.no_grad()
def answer(
    model: "MoEModel", encoded: Sequence[Sequence[int]], plan: Plan, max_new_tokens: int, batch_size: int = 64
) -> Answers:
    """Greedy answers of up to `max_new_tokens` tokens under `plan`, and its dose."""
    dose, found = Dose(), dict[int, tuple[int, ...]]()
    tokenizer = model.tokenizer
    pad = pad_id(tokenizer)
    for chosen in batches(encoded, batch_size):
        ids, mask = left_padded([encoded[i] for i in chosen], pad, model.device)
        with steered(model, plan, dose=dose):
            out = model.hf.generate(
                input_ids=ids, attention_mask=mask, max_new_tokens=max_new_tokens, do_sample=False, pad_token_id=pad
            )
        for i, row in zip(chosen, out[:, ids.shape[1] :].tolist(), strict=True):
            found[i] = _until_end(row, model)
    ordered = tuple(found[i] for i in range(len(encoded)))
    return Answers(tuple(decode(tokenizer, row) for row in ordered), ordered, dose.counts())


def pad_id(tokenizer: object) -> int:
    """The padding id, or the end-of-sequence id, or 0: padding is masked, so which one it is changes nothing."""
    for name in ("pad_token_id", "eos_token_id"):
        value = getattr(tokenizer, name, None)
        if value is not None:
            return int(value)
    return 0


def end_ids(model: "MoEModel") -> set[int]:
    """The ids that end an answer, by the model's generation config and its tokenizer."""
    stated = getattr(model.hf.generation_config, "eos_token_id", None)
    ends = set(stated if isinstance(stated, list | tuple) else [stated])
    return {int(e) for e in ends | {getattr(model.tokenizer, "eos_token_id", None)} if e is not None}


def decode(tokenizer: object, ids: Sequence[int]) -> str:
    """The text of an answer; special tokens are left out, except <think> and </think>."""
    special = set(getattr(tokenizer, "all_special_ids", []))
    marks = {tokenizer.convert_tokens_to_ids(t) for t in ("<think>", "</think>")}  # pyright: ignore[reportAttributeAccessIssue]
    kept = [i for i in ids if i not in special or i in marks]
    return tokenizer.decode(kept, skip_special_tokens=False).strip()  # pyright: ignore[reportAttributeAccessIssue]


def _until_end(row: list[int], model: "MoEModel") -> tuple[int, ...]:
    ends = end_ids(model)
    stop = next((i for i, token in enumerate(row) if token in ends), len(row))
    return tuple(row[:stop])
