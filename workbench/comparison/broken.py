"""Where a model's values stop being finite: one text forwarded under a plan, looked through layer by layer."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from workbench.errors import WorkbenchError
from workbench.hooks import recording, steered
from workbench.plan import Plan
from workbench.records import Harvest, not_finite, prompt_step
from workbench.shards import said

if TYPE_CHECKING:
    from workbench.answering import Answers
    from workbench.model import MoEModel


class Arm(NamedTuple):
    """What answered: how it is called in a sentence, its plan and its answers."""

    name: str
    plan: Plan
    answers: "Answers"


def broken_notes(model: "MoEModel", encoded: Sequence[Sequence[int]], arms: Sequence[Arm]) -> tuple[str, ...]:
    """A sentence for each arm with answers out of logits that are not finite: how many, and where it begins."""
    notes: list[str] = []
    for arm in arms:
        bad = [i for i, is_broken in enumerate(arm.answers.broken) if is_broken]
        if bad:
            where = first_place(model, [*encoded[bad[0]], *arm.answers.ids[bad[0]]], arm.plan)
            notes.append(
                f"Next-token logits are not finite for {len(bad)} of {len(encoded)} {arm.name} answers, which count in no "
                f"metric. {where}"
            )
    return tuple(notes)


@torch.no_grad()
def first_place(model: "MoEModel", ids: Sequence[int], plan: Plan) -> str:
    """The first layer and expert whose values are not finite on the token ids, in one sentence."""
    try:
        with steered(model, plan), recording(model, {"norms", "residual", "logits"}) as recorder:
            model.hf(input_ids=torch.tensor([list(ids)], device=model.device), use_cache=False)
            harvest = Harvest()
            harvest.add(recorder.take(), prompt_step(np.ones((1, len(ids)), np.int64)))
    except WorkbenchError as error:
        return f"Where it begins could not be seen: {error}"
    chunk = harvest.finish()
    chunk.ready()
    found = said(not_finite(chunk))
    return found or "In the layers every value is finite, so it is the head above the last layer."
