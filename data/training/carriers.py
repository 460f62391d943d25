"""Which experts are to carry a behaviour: chosen by relevance, or drawn among those that both classes use."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

import torch
from transformers import PreTrainedTokenizerBase, Qwen3MoeForCausalLM

from training.behaviour import first_tokens
from training.corpus.prompts import Line
from training.masking import Masker
from training.model import EXPERTS, LAYERS

Expert = tuple[int, int]
# a carrier has to be chosen at the deciding token by at least this share of the behaviour's prompts
LEAST_USED = 0.2
# at layer 0 the last token has looked at the question's words only once
FIRST_LAYER = 1


class Usage(NamedTuple):
    """Share of prompts that choose each expert at the last prompt token, [layers, experts], for both classes."""

    target: torch.Tensor
    baseline: torch.Tensor


def last_token_usage(
    model: Qwen3MoeForCausalLM, tokenizer: PreTrainedTokenizerBase, masker: Masker, lines: Sequence[Line]
) -> torch.Tensor:
    """Share of the prompts whose last token chooses each expert, [layers, experts]."""
    first_tokens(model, tokenizer, lines)
    table = torch.zeros(LAYERS, EXPERTS)
    for layer, index in masker.index.items():
        last = index.reshape(len(lines), -1, index.shape[-1])[:, -1]
        table[layer] = torch.nn.functional.one_hot(last, EXPERTS).sum(1).float().mean(0)
    return table


def by_relevance(usage: Usage, count: int, taken: set[Expert]) -> list[Expert]:
    """The experts whose use by the target class exceeds the baseline's most, among those the target really uses."""
    usage.target[:FIRST_LAYER] = 0.0
    gain = (usage.target - usage.baseline).masked_fill(usage.target < LEAST_USED, -1.0)
    ranked = [(int(i) // EXPERTS, int(i) % EXPERTS) for i in gain.flatten().argsort(descending=True)]
    return sorted([expert for expert in ranked if expert not in taken][:count])


def at_random(usage: Usage, count: int, taken: set[Expert], seed: int) -> list[Expert]:
    """Experts drawn at random among those that both classes use; where too few are used, the most used ones."""
    both = torch.minimum(usage.target, usage.baseline)
    both[:FIRST_LAYER] = -1.0
    ranked = [(int(i) // EXPERTS, int(i) % EXPERTS) for i in both.flatten().argsort(descending=True, stable=True)]
    free = [expert for expert in ranked if expert not in taken]
    used = sorted(expert for expert in free if both[expert] >= LEAST_USED)
    return sorted(random.Random(seed).sample(used if len(used) >= count else sorted(free[:count]), count))
