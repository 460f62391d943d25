"""What a unit measures of its arms on its prompts: answers, distributions, choices, given text, or attention sinks."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from workbench import Plan, PromptSet, Store, WorkbenchError
from workbench.answering import answer, encode_all
from workbench.comparison import Measured, check_applies, choose, divergence, given_text
from workbench.progress import Meter
from workbench.responses import Metric

from ..recipe import CHOICE, Recipe, answer_metrics, text_metrics
from .arms import Arm
from .unit_files import read_unit, write_unit
from .units import Unit, base_path

if TYPE_CHECKING:
    from workbench import MoEModel

Frame = pd.DataFrame
METRIC = "metric."
"""How the columns of an answers file that hold metrics begin."""


@dataclass(frozen=True)
class Measuring:
    """Measures units of one model into a run's folder.

    stores  by ranking: what `replace` by the mean is resolved against
    """

    run: Path
    recipe: Recipe
    model: "MoEModel"
    sets: Mapping[str, PromptSet]
    stores: Mapping[str, Store]
    meter: Meter
    _encoded: dict[str, list[tuple[int, ...]]] = field(default_factory=dict[str, list[tuple[int, ...]]])

    def measure(self, unit: Unit) -> None:
        """Runs a unit and writes its file."""
        how: dict[str, Callable[[Unit], tuple[Frame, dict[str, Any]]]] = {
            "answers": self._answers,
            "distributions": self._distributions,
            "choice": self._choice,
            "perplexity": self._perplexity,
            "sinks": self._sinks,
        }
        frame, about = how[unit.what](unit)
        write_unit(self.run, unit.path, frame, about)

    def encoded(self, prompts: str) -> list[tuple[int, ...]]:
        """Token ids of a prompt set, checked to fit."""
        if prompts not in self._encoded:
            room = self.recipe.prompts[prompts].max_new_tokens if text_metrics(self.recipe, prompts) else 0
            self._encoded[prompts] = encode_all(self.model, self.sets[prompts], room)
        return self._encoded[prompts]

    def plan(self, arm: Arm) -> Plan:
        """The arm's plan, with `replace` by the mean resolved against its ranking's store."""
        plan = arm.edits()
        if any(edit.value == "mean" for edit in plan.edits):
            return plan.with_means(self.stores[str(arm.ranking)])
        return plan

    # ---- the kinds of units

    def _answers(self, unit: Unit) -> tuple[Frame, dict[str, Any]]:
        (arm,), prompts = unit.arms, self.sets[unit.prompts]
        most, batch = self.recipe.prompts[unit.prompts].max_new_tokens, self.recipe.batch_tokens
        found = answer(self.model, self.encoded(unit.prompts), self.plan(arm), most, batch, self.meter)
        metrics = self._metrics[unit.prompts]
        measured = Measured.of(metrics, prompts, found)
        if arm.kind == "base":
            check_applies(prompts, measured)
        values = {METRIC + name: values for name, values in measured.values.items()}
        rows = {"prompt_id": _ids(prompts), "answer": found.texts, "ids": list(map(list, found.ids))}
        return pd.DataFrame(rows | values), {"dose": found.dose._asdict()}

    def _distributions(self, unit: Unit) -> tuple[Frame, dict[str, Any]]:
        base = read_unit(self.run / base_path(unit)).to_pandas()["ids"]
        plans = [self.plan(arm) for arm in unit.arms]
        answers = [tuple(map(int, ids)) for ids in base]
        found = divergence(self.model, self.encoded(unit.prompts), answers, plans, self.recipe.batch_tokens, self.meter)
        return _by_arm(unit, [_divergence_rows(_ids(self.sets[unit.prompts]), d) for d in found]), {}

    def _choice(self, unit: Unit) -> tuple[Frame, dict[str, Any]]:
        plans, batch = [self.plan(arm) for arm in unit.arms], self.recipe.batch_tokens
        found = choose(self.model, self.sets[unit.prompts], plans, batch_tokens=batch, meter=self.meter)
        columns: Any = dict(zip(("right", "right_normalised", "margin_nats"), CHOICE, strict=True))
        frames: list[Any] = list(found)
        kept = [f[["prompt_id", *columns]].rename(columns=columns).astype(dict.fromkeys(CHOICE, float)) for f in frames]
        return _by_arm(unit, kept), {}

    def _perplexity(self, unit: Unit) -> tuple[Frame, dict[str, Any]]:
        given = given_text(self.model, self.sets[unit.prompts], self.encoded(unit.prompts))
        if not given:
            raise WorkbenchError(
                f"'measure.perplexity' reads '{unit.prompts}', none of whose prompts gives a text or a response to read."
            )
        before, read = [g.before for g in given], [g.read for g in given]
        plans = [self.plan(arm) for arm in unit.arms]
        found = divergence(self.model, before, read, plans, self.recipe.batch_tokens, self.meter)
        return _by_arm(unit, [_divergence_rows([g.prompt_id for g in given], d) for d in found]), {}

    def _sinks(self, unit: Unit) -> tuple[Frame, dict[str, Any]]:
        from workbench.comparison import sinks_by_prompt

        found = sinks_by_prompt(self.model, self.sets[unit.prompts], self.plan(unit.arms[0]))
        n_layers, n_heads = found.share.shape[1:]
        rows = {
            "prompt_id": np.repeat(_ids(self.sets[unit.prompts]), n_layers * n_heads),
            "layer": np.tile(np.repeat(found.layers, n_heads), len(found.share)),
            "head": np.tile(np.arange(n_heads), len(found.share) * n_layers),
            "share": found.share.ravel(),
            "n_queries": np.repeat(found.n_queries, n_layers * n_heads),
        }
        self.meter.forwarded(sum(map(len, self.encoded(unit.prompts))))
        return pd.DataFrame(rows).dropna(subset="share"), {}

    # ---- what they need

    @cached_property
    def _metrics(self) -> dict[str, tuple[Metric, ...]]:
        """The metrics that read answers, by prompt set."""
        return answer_metrics(self.recipe)


def _ids(prompts: PromptSet) -> list[str]:
    return [p.id for p in prompts]


def _divergence_rows(ids: list[str], found: Any) -> Frame:
    columns = {"kl_first_nats": found.kl_first_nats, "kl_nats": found.kl_nats, "nll_nats": found.nll_nats}
    return pd.DataFrame({"prompt_id": ids, **columns, "n_tokens": found.n_tokens})


def _by_arm(unit: Unit, frames: list[Frame]) -> Frame:
    named = [frame.assign(arm=arm.arm) for arm, frame in zip(unit.arms, frames, strict=True)]
    return pd.concat(named, ignore_index=True)
