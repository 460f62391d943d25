"""docs/which-score.md, out of the measured arms: which score finds carriers, and which predicts effects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from grading.choice import CAPABILITIES
from grading.tables import table
from scipy.stats import t

from predicting.scores import BASELINES

Json = dict[str, Any]
Arms = Mapping[str, Json]
_TEMPLATE = Path(__file__).with_name("page.md")
REFUSED, REVEALED = "sensitive refused", "sensitive answered"


class Over(NamedTuple):
    """A mean over seeds with its 95 % interval (Student's t of the seeds' own means), which one seed alone lacks."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.2f}" + ("" if np.isnan(self.low) else f" [{self.low:.2f}, {self.high:.2f}]")


def over_seeds(values: Sequence[tuple[int, float]]) -> Over | None:
    """values: (seed, value) of arms; arms of a seed share its base, so they count as one. None of none."""
    seeds = sorted({seed for seed, _ in values})
    own = np.array([np.mean([x for s, x in values if s == seed]) for seed in seeds])
    if len(own) < 2:
        return Over(float(own[0]), float("nan"), float("nan")) if len(own) else None
    half = float(t.ppf(0.975, len(own) - 1) * own.std(ddof=1) / np.sqrt(len(own)))
    return Over(float(own.mean()), float(own.mean()) - half, float(own.mean()) + half)


def page(arms: Arms) -> str:
    """The whole page."""
    carried = {name: arm for name, arm in arms.items() if arm["found"]}
    finding = {name: _over(carried, "found", name, "average precision") for name in _names(carried, "found")}
    telling = {name: _over(arms, "predicts", name, REFUSED) for name in _names(arms, "predicts")}
    return _TEMPLATE.read_text("utf-8").format(
        arms=len(arms), carried=len(carried), seeds=len({arm["seed"] for arm in arms.values()}),
        scores=len(finding) - len(BASELINES), members=sum(name.startswith("saliency") for name in finding),
        found=_finding(carried, finding), predicted=_predicting(arms, telling),
        finders=_verdict(finding, carried), tellers=_telling(telling), checkpoints=_checkpoints(arms),
        refused=_refused(arms),
    )  # fmt: skip


def _names(arms: Arms, key: str) -> list[str]:
    return list(dict.fromkeys(name for arm in arms.values() for name in arm[key]))


def _over(arms: Arms, key: str, score: str, figure: str) -> Over | None:
    """A figure of a score over the seeds of the arms that have it."""
    return over_seeds([(a["seed"], a[key][score][figure]) for a in arms.values() if figure in a[key].get(score, {})])


def _finding(arms: Arms, finding: Mapping[str, Over | None]) -> str:
    rows = []
    for name, precision in _best_first(finding):
        before = _over(arms, "found on the base", name, "average precision")
        others = [_over(arms, "found", name, figure) for figure in ("hits in 4", "hits in 8", "area")]
        rows.append([name, *(str(x) if x else "" for x in (precision, *others, before))])
    head = ["score", "average precision", "hits in first 4", "hits in first 8", "area", "base: average precision"]
    return table(head, rows)


def _predicting(arms: Arms, telling: Mapping[str, Over | None]) -> str:
    rows = []
    for name, refused in sorted(telling.items(), key=lambda item: -abs(item[1].mean) if item[1] else 1.0):
        revealed = _over(arms, "predicts", name, REVEALED)
        able = [(a["seed"], _mean_of(a["predicts"].get(name, {}))) for a in arms.values()]
        lost = over_seeds([(seed, value) for seed, value in able if not np.isnan(value)])
        rows.append([name, *(str(x) if x else "" for x in (refused, revealed, lost))])
    return table(["score", "refusals", "answers revealed", "capabilities, mean"], rows)


def _mean_of(own: Json) -> float:
    known = [own[rate] for rate in CAPABILITIES if rate in own]
    return float(np.mean(known)) if known else float("nan")


def _best_first(found: Mapping[str, Over | None]) -> list[tuple[str, Over]]:
    known = [(name, over) for name, over in found.items() if over]
    return sorted(known, key=lambda item: -item[1].mean)


def _verdict(finding: Mapping[str, Over | None], arms: Arms) -> str:
    """The scores that find carriers better than the words alone do, seed by seed, and better than they do on the base."""
    than = {name: (("found", BASELINES[0]), ("found on the base", name)) for name in finding if name not in BASELINES}
    good = [
        name for name, _ in _best_first(finding) if name in than and min(_gain(arms, name, *x) for x in than[name]) > 0
    ]
    if not good:
        return (
            "**None of them finds the carriers well**: no score's average precision is above both that of the token ids alone "
            "and its own on the stage-1 base, where nothing was taught, with an interval over seeds that leaves 0 out."
        )
    return (
        f"Above both that of the token ids alone and their own on the stage-1 base, where nothing was taught, with intervals "
        f"over seeds that leave 0 out, is the average precision of {len(good)}: **{', '.join(good)}**."
    )


def _gain(arms: Arms, name: str, key: str, other: str) -> float:
    """The lower end of the interval of what a score finds more than another one, arm by arm."""
    pairs = [(a["seed"], a["found"].get(name), a[key].get(other)) for a in arms.values()]
    what = "average precision"
    gained = over_seeds([(seed, own[what] - than[what]) for seed, own, than in pairs if own and than])
    return gained.low if gained and not np.isnan(gained.low) else -1.0


def _telling(telling: Mapping[str, Over | None]) -> str:
    sure = [(name, x) for name, x in telling.items() if x and (x.low > 0 or x.high < 0)]
    if not sure:
        return "No score's correlation with the change of refusals has an interval over seeds that leaves 0 out."
    best, most = min(sure, key=lambda item: -abs(item[1].mean))
    size = "weak" if abs(most.mean) < 0.3 else "moderate" if abs(most.mean) < 0.6 else "strong"
    return (
        f"{len(sure)} of {len(telling)} correlations with the change of refusals have an interval over seeds that leaves 0 out; "
        f"the largest, of {best}, is {most}: {size}."
    )


def _checkpoints(arms: Arms) -> str:
    return table(["arm", "SHA-256 of its weights"], [[name, f"`{arm['sha256']}`"] for name, arm in arms.items()])


def _refused(arms: Arms) -> str:
    first = next(iter(arms.values()))["refused"]
    return "\n".join(f"- {', '.join(names)}: {reason}" for reason, names in first.items())
