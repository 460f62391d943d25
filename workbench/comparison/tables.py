"""A plan's effect in numbers: each metric with and without the plan, its interval, and what as many random experts do.

A prompt counts where the metric has a value for both answers; how many do not is said, never left out in silence.
"""

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from workbench.errors import WorkbenchError
from workbench.plan import Plan
from workbench.prompts import PromptSet
from workbench.resample import cluster_draws, effective_clusters, joined, percentile_interval, student_quantile, widened
from workbench.responses import LABEL_READ, Metric, Response, answer_part

if TYPE_CHECKING:
    from workbench.answering import Answers

N_BOOTSTRAP = 2000
_CONTROL_COLUMNS = ["metric", "match", "draw", "plan", "base", "steered", "difference", "n", "slots_changed"]


def check_applies(metrics: tuple[Metric, ...], prompts: PromptSet, base: "Answers") -> None:
    """Raises `WorkbenchError` when a metric has no value for any base answer: asked before the other arms are run.

    Where every answer is unfinished only a label that no prompt carries is an error: else there is nothing yet to measure.
    Answers out of logits that are not finite do not count: where there is no other, every metric is null and that is said.
    """
    sound = ~broken(base)
    unfinished = _unfinished(base)[sound].all()
    for metric in metrics if sound.any() else ():
        label = LABEL_READ.get(metric.name)
        lacks = label is not None and not any(label in prompt.labels for prompt in prompts)
        if (lacks or not unfinished) and np.isnan(metric_values(metric, prompts, base)[sound]).all():
            raise WorkbenchError(
                f"The metric '{metric.name}' applies to none of the {len(prompts)} prompts; it needs prompts that carry what it "
                f"reads (a label 'answer', say), and answers that end."
            )


def metric_table(
    metrics: tuple[Metric, ...], prompts: PromptSet, base: "Answers", arm: "Answers", seed: int
) -> pd.DataFrame:
    """metric, base, steered, difference, low, high (95 %, paired bootstrap over clusters), n prompts, n_clusters."""
    rows, clusters = list[dict[str, Any]](), _clusters(prompts)
    for metric in metrics:
        a, b = _both(metric, prompts, base, arm)
        known = ~np.isnan(a)
        groups = np.unique(clusters[known], return_inverse=True)[1]
        low, high = paired_interval(a[known], b[known], groups, seed)
        rows.append(
            {"metric": metric.name, **_means(a, b), "low": low, "high": high}
            | {"n": int(known.sum()), "n_clusters": len(set(groups.tolist()))}
        )
    return pd.DataFrame(rows)


def control_table(
    metrics: tuple[Metric, ...],
    prompts: PromptSet,
    base: "Answers",
    random: list[tuple[str, int, Plan]],
    others: list["Answers"],
) -> pd.DataFrame:
    """metric, match, draw, plan, base, steered, difference, n prompts, slots_changed: every draw."""
    rows = list[dict[str, Any]]()
    for metric in metrics:
        for (match, draw, plan), answers in zip(random, others, strict=True):
            a, b = _both(metric, prompts, base, answers)
            about = {"metric": metric.name, "match": match, "draw": draw, "plan": str(plan)}
            n = int((~np.isnan(a)).sum())
            rows.append(about | _means(a, b) | {"n": n, "slots_changed": answers.dose.slots_changed})
    return pd.DataFrame(rows, columns=_CONTROL_COLUMNS)


def left_out(metrics: tuple[Metric, ...], prompts: PromptSet, base: "Answers", arm: "Answers") -> tuple[str, ...]:
    """A sentence for each metric that has no value for some answer (of finite logits; the others are told of by themselves)."""
    found: list[str] = []
    sound = ~broken(base) & ~broken(arm)
    for metric in metrics:
        a, b = (np.isnan(metric_values(metric, prompts, answers)) & sound for answers in (base, arm))
        if n := int((a | b).sum()):
            cut = (_unfinished(base)[a].all() and _unfinished(arm)[b].all()) and metric.name not in LABEL_READ
            why = " (thinking had not ended: give more tokens)" if cut else ""
            found.append(
                f"{metric.name} leaves out {n} of {len(prompts)} prompts: it has no value for {int(a.sum())} base and "
                f"{int(b.sum())} steered answers{why}."
            )
    return tuple(found)


def paired_interval(
    base: np.ndarray, steered: np.ndarray, clusters: np.ndarray, seed: int, n_draws: int = N_BOOTSTRAP
) -> tuple[float, float]:
    """95 % interval of the mean paired difference, resampling clusters; NaN for fewer than two clusters.

    Percentiles, widened for how few clusters there are (`workbench.resample.widened`). Where no yes or no changed, or every
    one did, no resample differs, which would claim certainty: the interval then reaches as far as the exact 95 % bound on the
    share of clusters that do otherwise when none of n did, 1 - 0.05^(1/n), about 3/n (the rule of three). Where a few changed,
    resamples still know too little of changes that were not drawn: see `_with_unseen`.
    """
    if not len(clusters) or clusters.max() == 0:
        return float("nan"), float("nan")
    difference = steered - base
    yes_or_no = np.isin(base, (0.0, 1.0)).all()
    if yes_or_no and (difference == difference[0]).all():
        return _all_alike(float(difference[0]), len(np.unique(clusters)))
    draws = _draws(clusters.astype(np.int64).tobytes(), n_draws, seed)
    effective = effective_clusters(np.ones(len(clusters)), clusters)
    low, high = percentile_interval((draws @ difference / draws.sum(1))[:, None], widened(effective))
    found = float(low[0]), float(high[0])
    return _with_unseen(found, difference, effective) if yes_or_no and np.isin(steered, (0.0, 1.0)).all() else found


def _with_unseen(interval: tuple[float, float], difference: np.ndarray, n_clusters: float) -> tuple[float, float]:
    """The interval of a difference of yes and no, with half a change more in either direction (Agresti and Min 2005).

    Their variance is greater by 1 / N^2 for N prompts; for clusters of m prompts, that change together, by m / 2 times as much
    (ours, by simulation: without it 95 % intervals hold a true change of 0.07 in as few as 87 %; `python -m tests.coverage`).
    """
    n = len(difference)
    unseen = student_quantile(0.975, max(n_clusters - 1, 1.0)) ** 2 * max(1.0, n / n_clusters / 2) / n**2
    mean = float(difference.mean())
    low, high = mean - np.hypot(mean - interval[0], unseen**0.5), mean + np.hypot(interval[1] - mean, unseen**0.5)
    return max(-1.0, float(low)), min(1.0, float(high))


def _all_alike(difference: float, n_clusters: int) -> tuple[float, float]:
    """The interval where every yes or no changed alike: none of n clusters did otherwise, so a share of up to 3 / n may."""
    bound = 1 - 0.05 ** (1 / n_clusters)
    return (-bound, bound) if difference == 0 else tuple(sorted((difference, difference * (1 - bound))))  # pyright: ignore[reportReturnType]


@lru_cache(maxsize=2)  # many arms are resampled alike, and one of a few hundred draws takes longer than all else
def _draws(clusters: bytes, n_draws: int, seed: int) -> np.ndarray:
    return cluster_draws(np.frombuffer(clusters, np.int64), n_draws, np.random.default_rng(seed))


def metric_values(metric: Metric, prompts: PromptSet, answers: "Answers") -> np.ndarray:
    """The metric of each answer, float64 [prompts]; NaN where it does not apply, or the logits were not finite."""
    found = [
        None if bad else metric.function(Response(text, p.id, 0, dict(p.labels)))
        for p, text, bad in zip(prompts, answers.texts, broken(answers), strict=True)
    ]
    return np.array([np.nan if v is None else float(v) for v in found])


def broken(answers: "Answers") -> np.ndarray:
    """Bool [prompts]: whether the logits that chose the answer were not finite."""
    return np.array(answers.broken or [False] * len(answers.texts), bool)


def _unfinished(answers: "Answers") -> np.ndarray:
    """Bool [prompts]: which answers have not begun, since a thought goes on."""
    return np.array([answer_part(text) is None for text in answers.texts])


def _both(metric: Metric, prompts: PromptSet, base: "Answers", arm: "Answers") -> tuple[np.ndarray, np.ndarray]:
    """The metric without and with the plan, float64 [prompts] each; NaN in both where either has no value."""
    a, b = metric_values(metric, prompts, base), metric_values(metric, prompts, arm)
    known = ~np.isnan(a) & ~np.isnan(b)
    return np.where(known, a, np.nan), np.where(known, b, np.nan)


def _means(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
    known = ~np.isnan(a)
    before, after = (float(x[known].mean()) if known.any() else float("nan") for x in (a, b))
    return {"base": before, "steered": after, "difference": after - before}


def _clusters(prompts: PromptSet) -> np.ndarray:
    """Cluster number of each prompt."""
    return np.unique(cluster_keys(prompts), return_inverse=True)[1]


def cluster_keys(prompts: PromptSet) -> list[str]:
    """What is resampled together, by prompt: its cluster key, else its pair, else itself.

    A pair across two clusters joins them; both then go by the first of their keys.
    """
    names = [f"c:{p.cluster}" if p.cluster else f"p:{p.pair}" if p.pair else f"i:{p.id}" for p in prompts]
    of, first = joined([p.cluster for p in prompts], [p.pair for p in prompts]), dict[int, str]()
    for number, name in zip(of, names, strict=True):
        first[number] = min(name, first.get(number, name))
    return [first[number] for number in of]
