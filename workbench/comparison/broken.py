"""Where a model's values stop being finite: one text forwarded under a plan, looked through layer by layer."""

from collections.abc import Sequence
from contextlib import closing
from typing import NamedTuple

from workbench.answering import Answers
from workbench.backends import Batch, Keep, arm_of, check_keep
from workbench.errors import WorkbenchError
from workbench.model import MoEModel
from workbench.plan import Plan
from workbench.records import Harvest, not_finite
from workbench.shards import said


class Arm(NamedTuple):
    """What answered: how it is called in a sentence, its plan and its answers."""

    name: str
    plan: Plan
    answers: Answers


def broken_notes(model: MoEModel, encoded: Sequence[Sequence[int]], arms: Sequence[Arm]) -> tuple[str, ...]:
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


def first_place(model: MoEModel, ids: Sequence[int], plan: Plan) -> str:
    """The first layer and expert whose values are not finite on the token ids, in one sentence."""
    try:
        (backend, compiled), harvest = arm_of(model, plan), Harvest()
        keep = Keep(frozenset({"norms", "residual", "logits"}) & (backend.can.keep or frozenset()))
        check_keep(backend, keep.what)
        with closing(backend.run(Batch([ids]), compiled, keep=keep)) as portions:
            for portion in portions:
                if portion.record is not None:
                    harvest.add(portion.record, portion.where)
    except WorkbenchError as error:
        return f"Where it begins could not be seen: {error}"
    chunk = harvest.finish()
    chunk.ready()
    found = said(not_finite(chunk))
    return found or "In the layers every value is finite, so it is the head above the last layer."
