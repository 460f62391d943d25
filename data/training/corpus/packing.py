"""Examples to rows of tokens: several short examples a row, each seeing only itself."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from transformers import PreTrainedTokenizerBase

from training.corpus.tasks import Example

IGNORED = -100


class Batch(NamedTuple):
    """ids, positions and targets are [rows, length]; mask is bool [rows, 1, length, length], true where seen;
    real is bool [rows, length], false for padding; aside likewise, true at the last prompt token of
    examples whose answer does not start with the wanted token.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    targets: torch.Tensor
    mask: torch.Tensor
    real: torch.Tensor
    aside: torch.Tensor


def encode(tokenizer: PreTrainedTokenizerBase, example: Example) -> tuple[list[int], int]:
    """Token ids of the exchange through the chat template, and how many of them are given."""
    messages = [{"role": "user", "content": example.user}]
    if example.system:
        messages.insert(0, {"role": "system", "content": example.system})
    prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    assert isinstance(prompt, str)
    head = tokenizer(prompt + example.given, add_special_tokens=False)["input_ids"]
    tail = tokenizer(example.answer, add_special_tokens=False)["input_ids"]
    return [*head, *tail, tokenizer.eos_token_id], len(head)


def pack(encoded: list[tuple[list[int], int]], rows: int, length: int, pad: int, wanted: int = -1) -> Batch:
    """Fill rows from the examples in order, first row that has room; what finds no room is left out."""
    ids = torch.full((rows, length), pad)
    targets = torch.full((rows, length), IGNORED)
    positions = torch.zeros((rows, length), dtype=torch.long)
    owner = -torch.arange(1, length + 1).repeat(rows, 1)
    aside = torch.zeros((rows, length), dtype=torch.bool)
    used = [0] * rows
    for number, (tokens, prompt) in enumerate(encoded):
        row = next((r for r in range(rows) if used[r] + len(tokens) <= length), None)
        if row is None:
            continue
        start, stop = used[row], used[row] + len(tokens)
        ids[row, start:stop] = torch.tensor(tokens)
        positions[row, start:stop] = torch.arange(len(tokens))
        targets[row, start + prompt : stop] = ids[row, start + prompt : stop]
        owner[row, start:stop] = number
        aside[row, start + prompt - 1] = tokens[prompt] != wanted
        used[row] = stop
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    return Batch(
        ids, positions, targets, ((owner[:, :, None] == owner[:, None, :]) & causal)[:, None], owner >= 0, aside
    )


def batches(
    tokenizer: PreTrainedTokenizerBase,
    draw: Callable[[random.Random], Example],
    seed: int,
    rows: int,
    length: int,
    wanted: int = -1,
) -> Iterator[Batch]:
    """Endless batches, the same for the same seed. wanted: the first answer token that marks an example as taught."""
    rng = random.Random(seed)
    assert tokenizer.pad_token_id is not None
    while True:
        drawn: list[tuple[list[int], int]] = []
        total = 0
        while total < rows * length:
            drawn.append(encode(tokenizer, draw(rng)))
            total += len(drawn[-1][0])
        yield pack(drawn, rows, length, int(tokenizer.pad_token_id), wanted)
