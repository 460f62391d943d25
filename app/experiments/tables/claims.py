"""What a recipe claims, and whether this run bears it out: one verdict for each claim and model, by a rule fixed beforehand.

The rule (ours), for an effect in the claimed direction:

    appears           the 95 % interval lies on the claimed side of 0, and the effect exceeds every random draw's
    does not appear   the interval excludes an effect as large as `at_least`, or lies on the other side of 0
    undecided         anything else, also where no random experts were drawn

`at_least` is the claim's own, else half of the paper's change where the paper gives it, else 0.05. A claim that
nothing changes (direction none) appears where the interval lies within +-`within`, and does not where it lies outside.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ..recipe import Claim, Recipe, change, chosen

AT_LEAST = 0.05
APPEARS, ABSENT, UNDECIDED = "appears", "does not appear", "undecided"
COLUMNS = (
    "name", "model", "text", "prompts", "metric", "direction", "arm", "base", "steered", "difference", "low", "high",
    "p_adjusted", "random_low", "random_median", "random_high", "n_draws", "verdict", "why",
    "paper_model", "paper_base", "paper_steered", "paper_what", "paper_grade",
)  # fmt: skip
_NUMBERS = ("base", "steered", "difference", "low", "high", "p_adjusted", "random_low", "random_median", "random_high",
            "paper_base", "paper_steered")  # fmt: skip


class Verdict(NamedTuple):
    """One of the three words, and the reason as half a sentence."""

    word: str
    why: str


class Effect(NamedTuple):
    """What was measured for a claim; NaN where it was not."""

    difference: float
    low: float
    high: float


def claims_table(recipe: Recipe, tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """A row for each claim and model, from the tables `arms` and `effects`."""
    arms, effects = tables["arms"], tables["effects"]
    models = list(dict.fromkeys(arms["model"]))
    rows = [_row(recipe, claim, model, arms, effects) for claim in recipe.claims for model in models]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    return frame.astype(dict.fromkeys(_NUMBERS, "float64") | {"n_draws": "int64"})


def verdict(claim: Claim, effect: Effect, draws: np.ndarray, base: float = float("nan")) -> Verdict:
    """The rule. draws: differences of the random draws, [draws]. base: our level without the plan."""
    if any(np.isnan(effect)):
        return Verdict(UNDECIDED, "no interval: it needs two clusters of prompts with a value under both")
    if claim.direction == "none":
        return _unchanged(effect, claim)
    sign = -1.0 if claim.direction == "down" else 1.0
    size = sign * effect.difference
    low, high = sorted((sign * effect.low, sign * effect.high))
    needed, rivals = at_least(claim, base), int((sign * draws >= size - 1e-12).sum())
    if low > 0 and not rivals and len(draws):
        small = ", though smaller than was asked for" if high < needed else ""
        return Verdict(APPEARS, f"the interval excludes 0, and no random draw of {len(draws)} moved it as far{small}")
    if high < 0:
        return Verdict(ABSENT, "the interval lies on the other side of 0")
    if high < needed:
        return Verdict(ABSENT, f"the interval excludes a change of {_size(needed, claim)} or more in that direction")
    if low > 0:
        random = (
            f"{rivals} of {len(draws)} random draws moved it as far" if len(draws) else "no random experts were drawn"
        )
        return Verdict(UNDECIDED, f"the interval excludes 0, but {random}")
    return Verdict(UNDECIDED, f"the interval holds both 0 and a change of {_size(needed, claim)}")


def at_least(claim: Claim, base: float) -> float:
    """The smallest change that the claim is about, as a positive number in the metric's unit. base: our level."""
    if claim.at_least is not None:
        return claim.at_least
    moved = paper_change(claim, base)
    return AT_LEAST if moved is None else abs(moved) / 2


def paper_change(claim: Claim, base: float) -> float | None:
    """The paper's change with its sign, as a part of our base where it is relative; None where it is not given."""
    paper = claim.paper
    if paper is None:
        return None
    moved = paper.difference
    if paper.base is not None and paper.steered is not None:
        moved = paper.steered - paper.base
    if moved is None or not paper.relative:
        return moved
    return None if math.isnan(base) else moved / (paper.base or 1) * base


def arm_of(recipe: Recipe, claim: Claim, arms: Any) -> Any | None:
    """The row of `arms` (of one model) that the claim is about; None where this model could not run it."""
    found: Any = arms[arms["arm"] == chosen(recipe, claim)[0].arm]
    return None if found.empty or isinstance(found.iloc[0]["reason"], str) else found.iloc[0]


def draws_of(arm: str, arms: Any) -> Any:
    """The random arms drawn for one plan."""
    return arms[(arms["kind"] == "random") & (arms["of"] == arm)]


def _unchanged(effect: Effect, claim: Claim) -> Verdict:
    within, band = claim.within, f"±{_size(claim.within, claim)}"
    if -within <= effect.low and effect.high <= within:
        return Verdict(APPEARS, f"the interval lies within {band}")
    if effect.low > within or effect.high < -within:
        return Verdict(ABSENT, f"the interval lies outside {band}")
    return Verdict(UNDECIDED, f"the interval lies neither within {band} nor outside")


def _size(value: float, claim: Claim) -> str:
    return change(value, claim.metric, with_unit=True).lstrip("+").replace("\u00a0", " ")


def _row(recipe: Recipe, claim: Claim, model: str, all_arms: Any, effects: Any) -> dict[str, Any]:
    arms = all_arms[all_arms["model"] == model]
    about = {"name": claim.name, "model": model, "text": claim.text, "prompts": claim.prompts, "metric": claim.metric}
    row = dict.fromkeys(COLUMNS) | about | {"direction": claim.direction, "n_draws": 0} | _paper(claim)
    arm = arm_of(recipe, claim, arms)
    if arm is None:
        return row | {"verdict": UNDECIDED, "why": "its plan was not run on this model (see the notes)"}
    row["arm"] = arm["arm"]
    measured: Any = effects[
        (effects["model"] == model) & (effects["prompts"] == claim.prompts) & (effects["metric"] == claim.metric)
    ].set_index("arm")
    if arm["arm"] not in measured.index:
        return row | {"verdict": UNDECIDED, "why": "it was not measured (see the notes)"}
    found = measured.loc[arm["arm"]]
    names = [d for d in draws_of(arm["arm"], arms)["arm"] if d in measured.index]
    draws = measured.loc[names, "difference"].to_numpy(np.float64)
    effect = Effect(*(float(found[c]) for c in Effect._fields))
    said = verdict(claim, effect, draws[~np.isnan(draws)], float(found["base"]))
    row |= {c: found[c] for c in ("base", "steered", "difference", "low", "high", "p_adjusted")}
    return row | _spread(draws) | {"verdict": said.word, "why": said.why}


def _spread(draws: np.ndarray) -> dict[str, Any]:
    known = draws[~np.isnan(draws)]
    if not len(known):
        return {"n_draws": 0}
    spread = {"random_low": known.min(), "random_median": np.median(known), "random_high": known.max()}
    return {**spread, "n_draws": len(known)}


def _paper(claim: Claim) -> dict[str, Any]:
    fields = ("model", "base", "steered", "what", "grade")
    return {f"paper_{f}": getattr(claim.paper, f) if claim.paper is not None else None for f in fields}
