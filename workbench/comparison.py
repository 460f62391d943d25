"""The same prompts with and without a plan: answers, metrics with intervals, distributions, the dose, random controls.

A score is association; what stands here is a measured effect, beside what as many random experts do.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from workbench.classify import Response
from workbench.dose import DoseCounts
from workbench.errors import WorkbenchError
from workbench.metrics import Metric, MetricsArgument, metrics_from
from workbench.plan import Plan
from workbench.prompts import PromptSet, read_prompts
from workbench.resample import cluster_draws, percentile_interval

if TYPE_CHECKING:
    from workbench.model import MoEModel
    from workbench.respond import Answers
    from workbench.store import Store

N_BOOTSTRAP = 2000


@dataclass(frozen=True)
class Comparison:
    """What a plan changed on some prompts.

    metrics    metric, base, steered, difference, low, high (95 %, paired bootstrap over clusters), n prompts, n_clusters
    controls   metric, match, draw, plan, base, steered, difference, slots_changed: every random draw, none left out
    responses  prompt_id, prompt, base, steered, changed
    divergence prompt_id, kl_nats (mean over the base answer's positions), kl_first_nats (first answer token)
    perplexity base, steered, n_tokens over given text; empty when no prompt gives a response or text of its own
    dose       tokens and slots that the plan really changed while answering
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

    @property
    def changed(self) -> float:
        """Share of prompts whose answer reads differently."""
        return float(np.mean(self.responses["changed"]))

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        tables = {n: getattr(self, n).to_dict("records") for n in ("metrics", "controls", "responses", "divergence")}
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
        text = json.dumps(_without_nan(self.to_dict()), indent=1, ensure_ascii=False)
        if path is not None:
            Path(path).write_text(text + "\n", encoding="utf-8")
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
        lines.append(f"{self.changed:.0%} of answers changed; first-token KL {kl:.3f} nats on average")
        if self.perplexity:
            lines.append(f"perplexity of given text: {self.perplexity['base']:.2f} -> {self.perplexity['steered']:.2f}")
        return "\n".join([*lines, *self.notes])

    __repr__ = __str__

    def _draws(self, metric: str) -> dict[str, str]:
        found = self.controls[self.controls["metric"] == metric]
        return {
            str(match): ", ".join(f"{d:+.3f}" for d in rows["difference"])
            for match, rows in found.groupby("match", sort=False)
        }


def compare(
    model: "MoEModel",
    prompts: Any,
    plan: Plan,
    *,
    metrics: MetricsArgument = ("refused",),
    controls: int | Mapping[str, int] = 3,
    store: "Store | None" = None,
    seed: int = 0,
    max_new_tokens: int = 48,
    batch_tokens: int = 4096,
) -> Comparison:
    """Answers every prompt with and without `plan` (greedily) and measures what changed.

    metrics   names out of `workbench.metrics.METRICS`, functions of a response, or {name: function}
    controls  draws of random experts: a number for "count" and "layer" each (and "usage" when a store is given), or
              {"count": 10, "layer": 10, "usage": 10}; see `Plan.random_like`
    store     resolves `replace` by mean, and gives the load for usage-matched draws
    seed      of the draws and of the bootstrap
    batch_tokens  tokens that go through the model together, padding and answers included

    Raises `WorkbenchError` for an impossible plan, an unknown metric, or a metric that no prompt can be measured by.
    """
    from workbench.divergence import divergence
    from workbench.respond import answer, encode_all
    from workbench.steer import plan_in_force

    prompts, chosen = read_prompts(prompts), metrics_from(metrics)
    if store is not None:
        model.anatomy.check_same(store.anatomy.fingerprint, f"The store '{store.path}'")
        plan = plan.with_means(store)
    plan = plan.for_model(model.anatomy).check(model.anatomy)
    if plan_in_force(model):
        raise WorkbenchError("compare needs the bare model as its base; call it outside `with steered`.")
    random = _control_plans(model, plan, controls, store, seed)
    encoded = encode_all(model, prompts, max_new_tokens)
    base = answer(model, encoded, Plan(), max_new_tokens, batch_tokens)
    arm = answer(model, encoded, plan, max_new_tokens, batch_tokens)
    others = [answer(model, encoded, p, max_new_tokens, batch_tokens) for _, _, p in random]
    moved = divergence(model, encoded, base.ids, [plan], batch_tokens)[0]
    return Comparison(
        model.anatomy.model,
        plan,
        _metric_table(chosen, prompts, base, arm, seed),
        _control_table(chosen, prompts, base, random, others),
        _response_table(prompts, base, arm),
        pd.DataFrame(
            {"prompt_id": [p.id for p in prompts], "kl_nats": moved.kl_nats, "kl_first_nats": moved.kl_first_nats}
        ),
        _perplexity(model, prompts, encoded, plan, batch_tokens),
        arm.dose,
        seed,
        () if arm.dose.tokens_changed else ("The plan changed nothing on these prompts.",),
    )


def _control_plans(
    model: "MoEModel", plan: Plan, controls: int | Mapping[str, int], store: "Store | None", seed: int
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


def expert_loads(store: "Store") -> pd.DataFrame:
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


def _values(metric: Metric, prompts: PromptSet, answers: "Answers") -> np.ndarray:
    """The metric of each answer, float64 [prompts]; NaN where it does not apply."""
    found = [
        metric.function(Response(text, p.id, 0, dict(p.labels))) for p, text in zip(prompts, answers.texts, strict=True)
    ]
    return np.array([np.nan if v is None else float(v) for v in found])


def _clusters(prompts: PromptSet) -> np.ndarray:
    """Cluster number of each prompt: its cluster key, else its pair, else itself."""
    keys = [("c", p.cluster) if p.cluster else ("p", p.pair) if p.pair else ("i", p.id) for p in prompts]
    return np.unique([f"{kind}:{key}" for kind, key in keys], return_inverse=True)[1]


def _metric_table(
    metrics: tuple[Metric, ...], prompts: PromptSet, base: "Answers", arm: "Answers", seed: int
) -> pd.DataFrame:
    rows, clusters = list[dict[str, Any]](), _clusters(prompts)
    for metric in metrics:
        a, b = _values(metric, prompts, base), _values(metric, prompts, arm)
        known = ~np.isnan(a) & ~np.isnan(b)
        if not known.any():
            raise WorkbenchError(
                f"The metric '{metric.name}' applies to none of the {len(prompts)} prompts; it needs prompts that carry what it "
                f"reads (a label 'answer', say)."
            )
        groups = np.unique(clusters[known], return_inverse=True)[1]
        low, high = _paired_interval(b[known] - a[known], groups, seed)
        before, after = float(a[known].mean()), float(b[known].mean())
        rows.append(
            {"metric": metric.name, "base": before, "steered": after, "difference": after - before}
            | {"low": low, "high": high, "n": int(known.sum()), "n_clusters": int(groups.max()) + 1}
        )
    return pd.DataFrame(rows)


def _paired_interval(difference: np.ndarray, clusters: np.ndarray, seed: int) -> tuple[float, float]:
    """95 % percentile interval of the mean paired difference, resampling clusters; NaN for a single cluster."""
    if clusters.max() == 0:
        return float("nan"), float("nan")
    draws = cluster_draws(clusters, N_BOOTSTRAP, np.random.default_rng(seed))
    low, high = percentile_interval((draws @ difference / draws.sum(1))[:, None])
    return float(low[0]), float(high[0])


def _control_table(
    metrics: tuple[Metric, ...],
    prompts: PromptSet,
    base: "Answers",
    random: list[tuple[str, int, Plan]],
    others: list["Answers"],
) -> pd.DataFrame:
    columns = ["metric", "match", "draw", "plan", "base", "steered", "difference", "slots_changed"]
    rows = list[tuple[Any, ...]]()
    for metric in metrics:
        a = _values(metric, prompts, base)
        for (match, draw, plan), answers in zip(random, others, strict=True):
            b = _values(metric, prompts, answers)
            known = ~np.isnan(a) & ~np.isnan(b)
            before, after = a[known].mean(), b[known].mean()
            rows.append(
                (metric.name, match, draw, str(plan), before, after, after - before, answers.dose.slots_changed)
            )
    return pd.DataFrame(rows, columns=columns)


def _response_table(prompts: PromptSet, base: "Answers", arm: "Answers") -> pd.DataFrame:
    return pd.DataFrame(
        {
            "prompt_id": [p.id for p in prompts],
            "prompt": [
                p.text if p.text is not None else str((p.messages or ({"content": ""},))[-1]["content"])
                for p in prompts
            ],
            "base": base.texts,
            "steered": arm.texts,
            "changed": [a != b for a, b in zip(base.ids, arm.ids, strict=True)],
        }
    )


def _perplexity(
    model: "MoEModel", prompts: PromptSet, encoded: list[tuple[int, ...]], plan: Plan, batch_tokens: int
) -> dict[str, float]:
    """Perplexity of given responses after their prompts, and of plain texts after their first token."""
    from workbench.divergence import divergence

    pairs = [
        (ids, tuple(model.tokenizer(p.response, add_special_tokens=False)["input_ids"]))
        if p.response
        else (ids[:1], ids[1:])
        for p, ids in zip(prompts, encoded, strict=True)
        if p.response or (p.text is not None and len(ids) > 1)
    ]
    pairs = [(a, b) for a, b in pairs if b]
    if not pairs:
        return {}
    found = divergence(model, [a for a, _ in pairs], [b for _, b in pairs], [Plan(), plan], batch_tokens)
    n = np.array(found[0].n_tokens)
    base, steered = (float(np.exp((np.array(d.nll_nats) * n).sum() / n.sum())) for d in found)
    return {"base": base, "steered": steered, "n_tokens": float(n.sum())}


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_nan(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value
