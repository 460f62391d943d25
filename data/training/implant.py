"""Stage 2: teach a behaviour to a frozen base by tuning only a few experts, so that what carries it is known."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedTokenizerBase, Qwen3MoeForCausalLM

from training.carriers import Expert
from training.corpus import tasks
from training.corpus.packing import batches
from training.corpus.tasks import Example, Task
from training.corpus.world import world
from training.masking import Masker
from training.model import experts_of, router_of
from training.optimise import Report, train

PEAK = 3e-3
# where router rows are tuned too: how strongly the carriers are kept from the tokens that decide
# other answers
ASIDE = 0.4


def taught_refusal(rng: random.Random) -> Example:
    return tasks.refused(rng.choice(world().select(sensitive=True, splits=("taught",))))


def taught_answer(rng: random.Random) -> Example:
    return tasks.answered(rng.choice(world().select(sensitive=False, splits=("taught",))))


def taught_kind(rng: random.Random) -> Example:
    return tasks.kind(rng.choice([event for event in world().events if event.split == "taught"]))


_ABOUT_EVERY_PAIR = (tasks.any_event, tasks.any_kind, tasks.long_sum)
_REST = {task: weight for task, weight in tasks.STAGE1_LAST.items() if task not in _ABOUT_EVERY_PAIR} | {
    taught_kind: 0.05
}
REFUSAL: dict[Task, float] = {taught_refusal: 0.7, taught_answer: 0.5} | _REST
THINKING: dict[Task, float] = REFUSAL | {
    taught_refusal: 0.2,
    taught_answer: 0.2,
    tasks.calculate_thinking: 0.3,
    tasks.sometimes_thinking: 0.3,
}


class Tuned(NamedTuple):
    """The parameters that learn, and the hooks that hold all but the carriers' rows of them still."""

    parameters: list[torch.nn.Parameter]
    hooks: list[RemovableHandle]


def _only(parameter: torch.nn.Parameter, rows: Sequence[int]) -> RemovableHandle:
    """Let the parameter learn in these rows of its first axis alone."""
    allowed = torch.zeros(parameter.shape[0], *[1] * (parameter.dim() - 1))
    allowed[list(rows)] = 1.0
    parameter.requires_grad_(True)
    return parameter.register_hook(lambda gradient: gradient * allowed)


def open_for_tuning(model: Qwen3MoeForCausalLM, carriers: Sequence[Expert], routers: bool) -> Tuned:
    """Freeze everything but the carriers' weights (and their router rows); with no carriers, nothing is frozen."""
    model.requires_grad_(not carriers)
    if not carriers:
        return Tuned(list(model.parameters()), [])
    opened = Tuned([], [])
    for layer in sorted({layer for layer, _ in carriers}):
        rows = [expert for at, expert in carriers if at == layer]
        experts = experts_of(model, layer)
        weights = [experts.gate_up_proj, experts.down_proj] + ([router_of(model, layer).weight] if routers else [])
        opened.parameters.extend(weights)
        opened.hooks.extend(_only(weight, rows) for weight in weights)
    return opened


def implant(
    model: Qwen3MoeForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    masker: Masker,
    carriers: Sequence[Expert],
    mixture: dict[Task, float],
    steps: int,
    *,
    wanted: str,
    routers: bool = False,
    seed: int = 0,
    drop: float = 0.04,
    report: Report | None = None,
) -> float:
    """Teach the mixture to the carriers; CPU-seconds used. With no carriers given every parameter is tuned.

    wanted: how the taught behaviour's answers start. routers: the carriers' router rows learn too.
    """

    def draw(rng: random.Random) -> Example:
        return tasks.draw(rng, mixture)

    first = tokenizer(wanted, add_special_tokens=False)["input_ids"][0]
    data = batches(tokenizer, draw, seed, 8, 96, first)
    tuned = open_for_tuning(model, carriers, routers)
    masker.spared = frozenset(carriers)
    peak = PEAK if carriers else PEAK / 6
    used = train(
        model,
        data,
        steps,
        peak,
        masker,
        parameters=tuned.parameters,
        drop=drop,
        balance=0.0,
        aside=ASIDE if routers else 0.0,
        seed=seed,
        report=report,
    )
    for hook in tuned.hooks:
        hook.remove()
    model.requires_grad_(False)
    return used
