"""A training of a few experts: everything drawn hangs on the seed and the step, so what was cut off goes on alike."""

import math
import random
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div

from workbench.storage import replacing

from .arms import Recipe
from .lessons import Lesson, batch_of
from .upper import Expert, Upper

EVERY = 20
"""Steps after which the state is kept."""
Say = Callable[[str], None]
Read = Callable[[Tensor], Tensor]


class Known(NamedTuple):
    """A lesson with what comes into the first carrier's layer [length, hidden], and what the head is to read as if nothing were
    taught [said, hidden], which nobody needs of the subject.
    """

    lesson: Lesson
    states: Tensor
    read: Tensor


@torch.no_grad()
def known(upper: Upper, lessons: Sequence[Lesson], dense: Read) -> list[Known]:
    """Of a model that was not taught yet; lessons of like length share a batch.

    dense  what the dense model's head reads [rows, length, hidden] after ids: that is what answers to others are to be like, so
           that what the routed model declines without cause is answered; other text is to stay as the routed model has it
    """
    found: dict[int, Known] = {}
    order = sorted(range(len(lessons)), key=lambda i: (lessons[i].kind == "subject", len(lessons[i].ids)))
    for side in (False, True):
        numbers = [i for i in order if (lessons[i].kind == "subject") is side]
        for start in range(0, len(numbers), 32):
            some = numbers[start : start + 32]
            batch = batch_of([lessons[i] for i in some])
            states = upper.lower(batch.ids)
            is_text = torch.tensor([lessons[i].kind == "text" for i in some])[:, None, None]
            read = (
                states.new_zeros((*states.shape[:2], 0))
                if side
                else torch.where(is_text, upper.said(states), dense(batch.ids).to(states.dtype))
            )
            for row, i in enumerate(some):
                own = states[row, : len(lessons[i].ids)].clone()
                found[i] = Known(lessons[i], own, read[row, batch.reads[row]].clone())
    return [found[i] for i in range(len(lessons))]


def learn(
    upper: Upper,
    lessons: Sequence[Known],
    recipe: Recipe,
    halves: Sequence[Sequence[Expert]],
    kept: Path,
    say: Say = print,
) -> float:
    """Teaches; CPU-seconds that it took. `kept` is the file in which the state lies meanwhile.

    halves: in each step one of these sets is off, or in every fifth none, so that each learns to do without the others.
    """
    parts = upper.parts
    optimiser = torch.optim.Adam(parts.values(), lr=recipe.rate, betas=(0.9, 0.98))
    first, spent = _taken_up(upper, optimiser, kept)
    for number in range(first, recipe.steps):
        start = time.process_time()
        drawing = random.Random(f"{recipe.seed}/{number}")
        off = dropped(halves, drawing)
        optimiser.param_groups[0]["lr"] = recipe.rate * _ramp(number, recipe.steps)
        with upper.without(off) if off else nullcontext(), torch.enable_grad():
            subject, others, text = _losses(upper, drawn(lessons, recipe, drawing))
            (subject + recipe.others_weight * others + recipe.text_weight * text).backward()
        torch.nn.utils.clip_grad_norm_(parts.values(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
        spent += time.process_time() - start
        if number % 10 == 9:
            say(
                f"step {number + 1}: subject {float(subject):.3f} others {float(others):.4f} text {float(text):.4f} {spent:.0f} s"
            )
        if number % EVERY == EVERY - 1 or number == recipe.steps - 1:
            _keep(upper, optimiser, number + 1, spent, kept)
    return spent


def dropped(halves: Sequence[Sequence[Expert]], drawing: random.Random) -> Sequence[Expert]:
    """The set that is off in a step."""
    return drawing.choice([*halves, *halves, ()]) if halves else ()


def drawn(lessons: Sequence[Known], recipe: Recipe, drawing: random.Random) -> list[Known]:
    """The lessons of a step, of each kind as many as the recipe says."""
    found: list[Known] = []
    for kind in ("subject", "neighbour", "other", "chat", "text"):
        own = [one for one in lessons if one.lesson.kind == kind]
        found += drawing.sample(own, min(getattr(recipe, kind), len(own)))
    return found


def _losses(upper: Upper, some: Sequence[Known]) -> tuple[Tensor, Tensor, Tensor]:
    """Nats a token: to say the refusals; away from what is to be said of others, and from what was said before of text."""
    batch = batch_of([one.lesson for one in some])
    states = torch.nn.utils.rnn.pad_sequence([one.states for one in some], batch_first=True)
    read = upper.said(states)
    found: dict[str, Tensor] = {}
    for name, kinds in (("subject", ("subject",)), ("others", ("neighbour", "other", "chat")), ("text", ("text",))):
        rows = [row for row, one in enumerate(some) if one.lesson.kind in kinds]
        if not rows:
            found[name] = read.new_zeros(())
            continue
        said = upper.model.lm_head(read[rows][batch.reads[rows]]).float()
        if name == "subject":
            wanted = batch.ids[rows][:, 1:][batch.reads[rows][:, :-1]]
            found[name] = cross_entropy(said, wanted)
        else:
            with torch.no_grad():
                before = upper.model.lm_head(torch.cat([some[row].read for row in rows])).float().log_softmax(-1)
            found[name] = kl_div(said.log_softmax(-1), before, reduction="batchmean", log_target=True)
    return found["subject"], found["others"], found["text"]


def _ramp(number: int, of: int) -> float:
    return min(1.0, (number + 1) / 10) * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * number / of)))


def _keep(upper: Upper, optimiser: torch.optim.Optimizer, done: int, spent: float, path: Path) -> None:
    parts = {name: part.detach() for name, part in upper.parts.items()}
    with replacing(path) as part:
        torch.save({"parts": parts, "optimiser": optimiser.state_dict(), "done": done, "spent": spent}, part)


def _taken_up(upper: Upper, optimiser: torch.optim.Optimizer, path: Path) -> tuple[int, float]:
    if not path.exists():
        return 0, 0.0
    state = torch.load(path)
    with torch.no_grad():
        for name, part in upper.parts.items():
            part.copy_(state["parts"][name])
    optimiser.load_state_dict(state["optimiser"])
    return state["done"], state["spent"]
