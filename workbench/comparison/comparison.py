"""The same prompts with and without a plan: answers, metrics with intervals, distributions, the dose, random controls.

A score is association; what stands here is a measured effect, beside what as many random experts do.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from workbench.answering import Answers, answer_each, encode_all
from workbench.backends import backend_of, check_plan, check_scoring
from workbench.comparison.broken import Arm, broken_notes
from workbench.comparison.distributions import GivenText, divergence, given_text
from workbench.comparison.parts import COLUMNS as PART_COLUMNS
from workbench.comparison.parts import Part, each_part, text_to_read
from workbench.comparison.tables import Measured, check_applies, control_table, left_out, metric_table
from workbench.engine_words import check_words
from workbench.errors import WorkbenchError
from workbench.hooks import as_it_is, plan_in_force
from workbench.model import MoEModel
from workbench.plan import Plan, as_plan
from workbench.progress import Meter, ProgressLines, Report
from workbench.prompts import PromptSet, read_prompts
from workbench.responses import Metric, MetricsArgument, metrics_from
from workbench.routing import DoseCounts
from workbench.storage import jsonable, write_text
from workbench.store import Store

_DIVERGENCE = ("prompt_id", "kl_nats", "kl_first_nats")


@dataclass(frozen=True)
class Comparison:
    """What a plan changed on some prompts.

    metrics    metric, base, steered, difference, low, high (95 %, paired bootstrap over clusters), n prompts, n_clusters
    controls   metric, match, draw, plan, base, steered, difference, n, slots_changed: every random draw, none left out
    responses  prompt_id, prompt, base, steered, changed
    divergence prompt_id, kl_nats (mean over the base answer's positions), kl_first_nats (first answer token); empty where no
               distributions were asked for
    perplexity base, steered, n_tokens over given text; empty when no prompt gives a response or text of its own
    dose       tokens and slots that the plan really changed while answering
    parts      the plan as a whole, its experts alone and in pairs, and random ones: see `parts`; empty where it was not asked for
    """

    model: str
    plan: Plan
    metrics: pd.DataFrame
    controls: pd.DataFrame
    responses: pd.DataFrame
    divergence: pd.DataFrame
    perplexity: dict[str, float]
    dose: DoseCounts
    seed: int
    notes: tuple[str, ...] = field(default=())
    parts: pd.DataFrame = field(default_factory=lambda: _parts())

    @property
    def changed(self) -> float:
        """Share of prompts whose answer reads differently."""
        return float(np.mean(self.responses["changed"]))

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        names = ("metrics", "controls", "responses", "divergence", *(["parts"] if len(self.parts) else []))
        tables = {n: getattr(self, n).to_dict("records") for n in names}
        return {
            "model": self.model,
            "plan": json.loads(self.plan.to_json()),
            "dose": self.dose._asdict(),
            "perplexity": self.perplexity,
            "seed": self.seed,
            "notes": list(self.notes),
            **tables,
        }

    def to_json(self, path: str | Path | None = None) -> str:
        """JSON text; also written to `path` when given. Not-a-number becomes null."""
        text = json.dumps(jsonable(self.to_dict()), indent=1, ensure_ascii=False)
        if path is not None:
            write_text(path, text + "\n")
        return text

    def __str__(self) -> str:
        lines = [f"{self.plan} on {self.model}, {len(self.responses)} prompts; {self.dose}"]
        for row in self.metrics.to_dict("records"):
            lines.append(
                f"{row['metric']}: {row['base']:.3f} -> {row['steered']:.3f} ({row['difference']:+.3f} "
                f"[{row['low']:+.3f}, {row['high']:+.3f}], n={row['n']})"
            )
            lines += [f"  random, {m}: {d}" for m, d in self._draws(str(row["metric"])).items()]
        kl = self.divergence["kl_first_nats"].mean()
        moved = f"; first-token KL {kl:.3f} nats on average" if len(self.divergence) else ""
        lines.append(f"{self.changed:.0%} of answers changed{moved}")
        if self.perplexity:
            lines.append(f"perplexity of given text: {self.perplexity['base']:.2f} -> {self.perplexity['steered']:.2f}")
        for part in self.parts.to_dict("records"):
            lines.append(
                f"{part['arm']}: {part['change']:+.3f} nats a token, sinks decay by {part['decay']:.0%} ({part['plan']})"
            )
        return "\n".join([*lines, *self.notes])

    __repr__ = __str__

    def _draws(self, metric: str) -> dict[str, str]:
        found = self.controls[self.controls["metric"] == metric]
        return {
            str(match): ", ".join(f"{d:+.3f}" for d in rows["difference"])
            for match, rows in found.groupby("match", sort=False)
        }


def compare(
    model: MoEModel,
    prompts: Any,
    plan: Plan,
    *,
    metrics: MetricsArgument = ("refused",),
    controls: int | Mapping[str, int] = 3,
    store: Store | None = None,
    seed: int = 0,
    max_new_tokens: int = 48,
    batch_tokens: int = 4096,
    distributions: bool = True,
    parts: bool = False,
    progress: bool | Report = True,
    **before: Any,
) -> Comparison:
    """Answers every prompt with and without `plan` and measures what changed. Greedily, by the checkpoint's generation config
    (penalties, n-grams, ...) but its sampling: as transformers' `generate(do_sample=False)` does.

    metrics   names out of `workbench.responses.metrics.METRICS`, functions of a response, or {name: function}
    controls  draws of random experts: a number for "count" and "layer" each (and "usage" when a store is given), or
              {"count": 10, "layer": 10, "usage": 10}; see `Plan.random_like`
    store     resolves `replace` by mean, and gives the load for usage-matched draws
    seed      of the draws and of the bootstrap
    batch_tokens  tokens that go through the model together, padding and answers included
    distributions  False: the answers alone, no divergence and no perplexity; for an engine that does not score given text
    parts     True: `Comparison.parts` too, on prompts that give text: the plan's experts alone, in pairs and at random
    progress  as for `capture`: lines on stderr, False for silence, or a function that receives `Progress` values

    A metric without a value for one of the two answers leaves the prompt out ("refused" does while thinking has not ended);
    n says how many prompts count, and `notes` how many do not. So do answers out of logits that are not finite; the notes
    name the layer and the expert where such values begin.
    Raises `WorkbenchError` for an impossible plan, an unknown metric, a metric that no prompt can be measured by, and what the
    model's engine cannot do.
    """
    check_words("compare", before)
    if seed < 0:
        raise WorkbenchError(f"compare(seed={seed}) makes no sense; it should be at least 0.")
    prompts, chosen, model = read_prompts(prompts), metrics_from(metrics), as_it_is(model)
    plan = as_plan(plan, model.anatomy)
    plan = _possible(model, plan, store, distributions)
    random = control_plans(model, plan, controls, store, seed)
    encoded = encode_all(model, prompts, max_new_tokens)
    given = given_text(model, prompts, encoded) if distributions else []
    read = text_to_read(model, prompts) if parts and plan else []
    meter = meter_of(encoded, given, 2 + len(random), max_new_tokens, distributions, progress)
    asked = Asked(model, prompts, encoded, chosen, max_new_tokens, batch_tokens, meter)
    arms = asked.measured([Plan(), plan, *(drawn for _, _, drawn in random)])
    base = next(arms)
    check_applies(prompts, base)
    arm, others = next(arms), list(arms)
    return Comparison(
        model.anatomy.model,
        plan,
        metric_table(prompts, base, arm, seed),
        control_table(base, random, others),
        _response_table(prompts, base.answers, arm.answers),
        asked.divergence(base.answers, plan) if distributions else pd.DataFrame(columns=_DIVERGENCE),
        asked.perplexity(given, plan),
        arm.answers.dose,
        seed,
        (
            *(() if arm.answers.dose.tokens_changed else ("The plan changed nothing on these prompts.",)),
            *broken_notes(model, encoded, _arms(plan, base, arm, random, others)),
            *left_out(prompts, base, arm),
        ),
        _parts(each_part(model, read, plan, controls=_most(controls), seed=seed) if read else ()),
    )


def _parts(rows: Iterable[Part] = ()) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=PART_COLUMNS)


def _most(controls: int | Mapping[str, int]) -> int:
    """The draws of whichever way of matching has most."""
    return controls if isinstance(controls, int) else max(controls.values(), default=0)


@dataclass(frozen=True)
class Asked:
    """What every arm of a comparison is asked, and how."""

    model: MoEModel
    prompts: PromptSet
    encoded: Sequence[Sequence[int]]
    metrics: Sequence[Metric]
    max_new_tokens: int
    batch_tokens: int
    meter: Meter

    def measured(self, plans: Sequence[Plan]) -> Iterator[Measured]:
        """Each arm's answers and what the metrics say of them."""
        found = answer_each(self.model, self.encoded, plans, self.max_new_tokens, self.batch_tokens, self.meter)
        return (Measured.of(self.metrics, self.prompts, answers) for answers in found)

    def divergence(self, base: Answers, plan: Plan) -> pd.DataFrame:
        """How far the plan moves the distributions over the base's answers; those that ended early are read as they are."""
        self.meter.skip(2 * sum(self.max_new_tokens - len(ids) for ids in base.ids))
        moved = divergence(self.model, self.encoded, base.ids, [plan], self.batch_tokens, self.meter)[0]
        columns = ([p.id for p in self.prompts], moved.kl_nats, moved.kl_first_nats)
        return pd.DataFrame(dict(zip(_DIVERGENCE, columns, strict=True)))

    def perplexity(self, given: Sequence[GivenText], plan: Plan) -> dict[str, float]:
        """Of given text with and without the plan; empty where none is given."""
        if not given:
            return {}
        before, read = [g.before for g in given], [g.read for g in given]
        found = divergence(self.model, before, read, [Plan(), plan], self.batch_tokens, self.meter)
        n = np.array(found[0].n_tokens)
        base, steered = (float(np.exp((np.array(d.nll_nats) * n).sum() / n.sum())) for d in found)
        return {"base": base, "steered": steered, "n_tokens": float(n.sum())}


def _possible(model: MoEModel, plan: Plan, store: Store | None, distributions: bool) -> Plan:
    """The plan for this model, after everything was refused that the model or its engine cannot do."""
    backend = backend_of(model)
    if distributions:
        check_scoring(backend, "compare(distributions=True)")
    if store is not None:
        model.anatomy.check_same(store.anatomy.fingerprint, f"The store '{store.path}'")
        plan = plan.with_means(store)
    plan = plan.for_model(model.anatomy).check(model.anatomy)
    check_plan(backend, plan)
    if plan_in_force(model):
        raise WorkbenchError("compare needs the bare model as its base; call it outside `with steered`.")
    return plan


def meter_of(
    encoded: Sequence[Sequence[int]],
    given: Sequence[GivenText],
    arms: int,
    max_new_tokens: int,
    distributions: bool,
    progress: bool | Report,
) -> Meter:
    """Counts the tokens of all arms, of the two forwards over the base's answers and of those over given text."""
    asked = sum(len(ids) + max_new_tokens for ids in encoded)
    total = (arms + 2 * distributions) * asked + 2 * sum(len(g.before) + len(g.read) for g in given)
    meter = Meter(total, ProgressLines() if progress is True else progress or None)
    drawn = f", of them {arms - 2} with random experts" if arms > 2 else ""
    meter.say(f"Answering {len(encoded)} prompts {arms} times{drawn}: at most {total:,} tokens")
    return meter


def control_plans(
    model: MoEModel, plan: Plan, controls: int | Mapping[str, int], store: Store | None, seed: int
) -> list[tuple[str, int, Plan]]:
    if isinstance(controls, int):
        controls = dict.fromkeys(["count", "layer", *(["usage"] if store is not None else [])], controls)
    if not plan:
        return []
    usage = expert_loads(store) if store is not None and controls.get("usage") else None
    return [
        (match, draw, Plan.random_like(plan, model.anatomy, match, usage, seed=seed * 1000 + draw))  # pyright: ignore[reportArgumentType]
        for match, n in controls.items()
        for draw in range(n)
    ]


def expert_loads(store: Store) -> pd.DataFrame:
    """Load of every routed expert over a store: layer, expert, score = its share of the layer's selections."""
    counted = store.counts()
    total = counted.n.sum(0)
    share = total / np.maximum(total.sum(-1, keepdims=True), 1)
    rows = [
        (layer, e, float(share[i, e]))
        for i, layer in enumerate(counted.layers)
        for e in range(store.anatomy.layer(layer).n_experts)
    ]
    return pd.DataFrame(rows, columns=["layer", "expert", "score"])


def _arms(
    plan: Plan, base: Measured, arm: Measured, random: Sequence[tuple[str, int, Plan]], others: Sequence[Measured]
) -> list[Arm]:
    """What a sentence about answers may be about, each by its name."""
    drawn = zip(random, others, strict=True)
    named = [Arm(f"random ({match}, draw {draw})", p, other.answers) for (match, draw, p), other in drawn]
    return [Arm("base", Plan(), base.answers), Arm("steered", plan, arm.answers), *named]


def _response_table(prompts: PromptSet, base: Answers, arm: Answers) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "prompt_id": [p.id for p in prompts],
            "prompt": [p.said for p in prompts],
            "base": base.texts,
            "steered": arm.texts,
            "changed": [a != b for a, b in zip(base.ids, arm.ids, strict=True)],
        }
    )
