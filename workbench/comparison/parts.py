"""What a plan does as a whole and its experts do alone, in pairs and at random: the loss, and how far attention sinks decay.

Several experts may write a massive activation together. Muting one of them then does little and muting all of them breaks the
model, which the experts one by one do not tell.
"""

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from workbench.answering import encode_all
from workbench.comparison.distributions import GivenText, given_text, loss_of
from workbench.comparison.sinks import SinkShare, decay, sinks_of
from workbench.errors import WorkbenchError
from workbench.hooks import plan_in_force
from workbench.plan import Plan
from workbench.prompts import PromptSet, read_prompts
from workbench.routing import Dose

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from workbench.model import MoEModel

COLUMNS = ("arm", "plan", "loss", "change", "decay", "slots_changed")
_MOST = 8
"""Experts of a plan up to which every pair is measured: 28 pairs."""


class Part(NamedTuple):
    """One arm, measured. loss: nats a token on given text; change: beside the bare model; decay: see `parts`."""

    arm: str
    plan: str
    loss: float
    change: float
    decay: float
    slots_changed: int


def parts(
    model: "MoEModel",
    prompts: "PromptSet | str | Path | Iterable[Any]",
    plan: Plan,
    *,
    controls: int = 3,
    seed: int = 0,
) -> pd.DataFrame:
    """A plan as a whole ("together"), each of its experts alone, every pair of three to eight, and as many random experts.

    arm, plan, loss (nats a token on the prompts' own text: their responses, else their plain texts), change (loss less the bare
    model's), decay (attention-sink decay rate: 1 - the share of attention on the first token over the bare model's, the mean
    over heads and over the layers behind the plan's first; null where there is none) and slots_changed. The bare model first.

    Random experts lie in the same layers ("random, same layers"); where a layer has no other of that kind, as with its only
    shared expert, anywhere ("random, any layers"). Raises `WorkbenchError` for an empty plan, for prompts that give no text
    to be read, and what `sink_share` raises.
    """
    given = text_to_read(model, read_prompts(prompts))
    return pd.DataFrame(each_part(model, given, plan, controls=controls, seed=seed), columns=COLUMNS)


def text_to_read(model: "MoEModel", prompts: PromptSet) -> list[GivenText]:
    """What a loss is read on. Raises `WorkbenchError` where no prompt gives any."""
    given = given_text(model, prompts, encode_all(model, prompts, 0))
    if not given:
        raise WorkbenchError(
            f"None of the {len(prompts)} prompts gives text to be read, so no loss is known; give prompts with 'text', or with "
            f"a 'response'."
        )
    return given


def each_part(
    model: "MoEModel", given: "Sequence[GivenText]", plan: Plan, *, controls: int = 3, seed: int = 0
) -> Iterator[Part]:
    """The rows of `parts` on text as token ids, each as soon as it is measured."""
    if not plan:
        raise WorkbenchError("The plan is empty, so it has no parts; name an edit, such as mute L0E15.")
    if plan_in_force(model):
        raise WorkbenchError("parts needs the bare model as its base; call it outside `with steered`.")
    plan = plan.for_model(model.anatomy).check(model.anatomy)
    measuring = _Measuring.of(model, given, min(e.expert.layer for e in plan.edits))
    yield Part("bare", "", measuring.loss, 0.0, 0.0, 0)
    for arm, chosen in [("together", plan), *_members(plan), *_random(model, plan, controls, seed)]:
        yield measuring.part(arm, chosen)


def n_parts(plan: Plan, controls: int = 3) -> int:
    """How many rows `parts` has, the bare model among them."""
    return 2 + len([*_members(plan)]) + controls


class _Measuring(NamedTuple):
    """The bare model on the prompts, which every arm is set beside."""

    model: "MoEModel"
    rows: "Sequence[Sequence[int]]"
    given: "Sequence[GivenText]"
    layer: int
    loss: float
    sinks: SinkShare

    @classmethod
    def of(cls, model: "MoEModel", given: "Sequence[GivenText]", layer: int) -> "_Measuring":
        rows = [[*text.before, *text.read] for text in given]
        return cls(model, rows, given, layer, loss_of(model, given, Plan()), sinks_of(model, rows).together())

    def part(self, arm: str, plan: Plan) -> Part:
        """An arm's loss and sinks."""
        dose, loss = Dose(), loss_of(self.model, self.given, plan)
        rates = decay(self.sinks, sinks_of(self.model, self.rows, plan, dose=dose).together())
        behind = [rate for layer, rate in rates.items() if layer > self.layer]
        lost = float(np.nanmean(behind)) if not np.isnan(behind).all() else float("nan")
        return Part(arm, str(plan), loss, loss - self.loss, lost, dose.counts().slots_changed)


def _members(plan: Plan) -> Iterator[tuple[str, Plan]]:
    experts = plan.experts
    for size in (1, 2):
        if size >= len(experts) or (size == 2 and len(experts) > _MOST):
            return
        for some in combinations(experts, size):
            yield "alone" if size == 1 else "pair", Plan(tuple(e for e in plan.edits if e.expert in some))


def _random(model: "MoEModel", plan: Plan, controls: int, seed: int) -> Iterator[tuple[str, Plan]]:
    for draw in range(controls):
        try:
            found, where = Plan.random_like(plan, model.anatomy, "layer", seed=seed * 1000 + draw), "same layers"
        except WorkbenchError:  # the layer's only shared expert, say
            found, where = Plan.random_like(plan, model.anatomy, "count", seed=seed * 1000 + draw), "any layers"
        yield f"random, {where}", found
