"""One step of training: rows, the dense model's hidden states, the student's, and the updates that bring them nearer."""

import math
import random
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from .rows import Order
from .student import Student
from .teaching import lesson
from .together import average, share


@dataclass(frozen=True)
class Recipe:
    """How a student is trained.

    ks        routed experts of a token, one of which is drawn for each step, so that the student serves them all
    rank      of the low-rank updates; None: all weights change
    rate      learning rates at their peak, of updates, routers and norms; a cosine takes them to a twentieth
    batch     rows of a step
    read      share of positions whose distributions are compared
    balance   how far a step moves the selection bias of an expert chosen too often or too seldom (DeepSeek-V3, loss-free
              balancing); 0 leaves it
    turns     kinds of text as they follow each other; (): every kind once
    """

    ks: tuple[int, ...]
    rank: int | None = 8
    rate: float = 2e-3
    router_rate: float = 4e-4
    norm_rate: float = 2e-4
    batch: int = 8
    read: float = 0.5
    balance: float = 0.0
    turns: tuple[str, ...] = ()
    seed: int = 0


class Stepped(NamedTuple):
    """A step's number of routed experts, and the student's divergence from the dense model in nats."""

    k: int
    nats: float


def optimiser_of(student: Student, recipe: Recipe) -> torch.optim.Optimizer:
    """Adam over the student's parts, in three groups of rates."""
    kinds = {".router.weight": recipe.router_rate, "norm.d": recipe.norm_rate}
    by_rate: dict[float, list[Tensor]] = {}
    for name, part in student.parts.items():
        rate = next((rate for end, rate in kinds.items() if name.endswith(end)), recipe.rate)
        by_rate.setdefault(rate, []).append(part)
    groups = [{"params": parts, "lr": rate, "peak": rate} for rate, parts in by_rate.items()]
    return torch.optim.Adam(groups, betas=(0.9, 0.98))


def step(
    student: Student, recipe: Recipe, order: Order, optimiser: torch.optim.Optimizer, number: int, of: int
) -> Stepped:
    """Step `number` of `of`; everything drawn hangs on the seed and the number, so a training that was cut off goes on alike."""
    drawing = random.Random(f"{recipe.seed}/{number}")
    rows, k = share(order.take(number * recipe.batch, recipe.batch)), drawing.choice(recipe.ks)
    read = torch.tensor(sorted(drawing.sample(range(rows.shape[1]), max(1, int(recipe.read * rows.shape[1])))))
    for group in optimiser.param_groups:
        group["lr"] = group["peak"] * _ramp(number, of)
    with torch.no_grad():
        dense = student.hidden(rows)[:, read].flatten(0, 1)
    student.switch.chosen = [] if recipe.balance else None
    with torch.enable_grad():
        own = student.hidden(rows, k)[:, read].flatten(0, 1)
        taught = lesson(own.detach(), dense, student.head)
        own.backward(taught.gradient)
    nats = torch.tensor(taught.nats)
    average(
        [nats, *(part.grad for part in student.parts.values() if part.grad is not None), *(student.switch.chosen or ())]
    )
    torch.nn.utils.clip_grad_norm_(student.parts.values(), 1.0)
    optimiser.step()
    optimiser.zero_grad()
    _balance(student, recipe.balance, k)
    return Stepped(k, float(nats))


def _ramp(number: int, of: int) -> float:
    warm = min(1.0, (number + 1) / 10)
    return warm * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * number / of)))


def _balance(student: Student, by: float, k: int) -> None:
    for routed, got in zip(student.routed, student.switch.chosen or (), strict=False):
        routed.bias += by * torch.sign(k / len(got) - got)
    student.switch.chosen = None
