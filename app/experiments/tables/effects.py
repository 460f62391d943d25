"""A run's effects: paired intervals, sign-flip tests corrected over plans, and what as many random experts do.

A prompt counts where the metric has a value under both arms. Resampled and flipped are whole clusters of prompts.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from probes.statistics import Adjust, Tested, holm, permutation_test
from workbench.comparison import paired_interval

from ..engine import MATCHES
from ..recipe import DIVERGENCE, Recipe, Statistics, role_of

PLANS = ("plan", "explicit")


class Paired(NamedTuple):
    """One metric on one prompt set of one model: `steered` [prompts, arms] beside `base` [prompts], NaN without a value."""

    arms: list[str]
    base: np.ndarray
    steered: np.ndarray
    cluster: np.ndarray
    """[prompts] number from 0."""


def effects_table(recipe: Recipe, arms: pd.DataFrame, values: pd.DataFrame) -> pd.DataFrame:
    """The table `effects` out of one model's `arms` and `values`."""
    found: list[pd.DataFrame] = []
    groups: Any = values.groupby(["prompts", "metric"], sort=True) if len(values) else ()
    for (prompts, metric), rows in groups:
        data = paired(rows)
        if not data.arms:
            continue  # no plan could be run
        frame = _effects(recipe, data, arms, str(metric))
        found.append(frame.assign(prompts=prompts, metric=metric, role=role_of(recipe, str(prompts), str(metric))))
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame()


def paired(rows: pd.DataFrame) -> Paired:
    """The values of one metric on one prompt set, prompts in the order of their ids."""
    wide: Any = rows.pivot(index="prompt_id", columns="arm", values="value")
    clusters: Any = rows.drop_duplicates("prompt_id").set_index("prompt_id")["cluster"].reindex(wide.index)
    names = [name for name in wide.columns if name != "base"]
    return Paired(
        names,
        wide["base"].to_numpy(np.float64),
        wide[names].to_numpy(np.float64),
        np.unique(clusters.to_numpy(str), return_inverse=True)[1],
    )


def _effects(recipe: Recipe, data: Paired, arms: pd.DataFrame, metric: str) -> pd.DataFrame:
    frame = pd.DataFrame(list(_differences(data, recipe)))
    about: Any = arms.set_index("arm").loc[frame["arm"]]
    is_plan = about["kind"].isin(PLANS).to_numpy()
    frame[["p", "p_adjusted"]] = np.nan
    if metric not in DIVERGENCE:  # a distance is never below the base's 0: no sign can flip
        tested = sign_flips(data, np.flatnonzero(is_plan), recipe.statistics, recipe.seed)
        frame.loc[is_plan, ["p", "p_adjusted"]] = np.stack(tested, axis=1)
    beside = [_beside_random(frame, about, arm) if plan else {} for arm, plan in zip(data.arms, is_plan, strict=True)]
    return frame.join(pd.DataFrame(beside, index=frame.index))


def _differences(data: Paired, recipe: Recipe) -> Iterator[dict[str, Any]]:
    known_intervals: dict[bytes, tuple[float, float]] = {}  # many arms change nothing, or are shared
    for number, arm in enumerate(data.arms):
        steered = data.steered[:, number]
        known = ~np.isnan(data.base) & ~np.isnan(steered)
        before, after = data.base[known], steered[known]
        groups = np.unique(data.cluster[known], return_inverse=True)[1]
        key = known.tobytes() + after.tobytes()
        if key not in known_intervals:
            known_intervals[key] = paired_interval(before, after, groups, recipe.seed, recipe.statistics.bootstrap)
        base, mean = (float(x.mean()) if len(x) else np.nan for x in (before, after))
        low, high = known_intervals[key]
        yield {
            "arm": arm,
            "base": base,
            "steered": mean,
            "difference": mean - base,
            "low": low,
            "high": high,
            "n": int(known.sum()),
            "n_clusters": len(set(groups.tolist())),
        }


def sign_flips(data: Paired, chosen: np.ndarray, how: Statistics, seed: int) -> Tested:
    """p-values of the arms numbered `chosen`: how often flipped signs of whole clusters give as large a mean difference.

    The same flips serve every arm, so that the largest over arms of each flip is a joint null (Westfall and Young 1993).
    Every pattern of signs is used where there are no more than `how.permutations`.
    """
    difference = np.nan_to_num(data.steered[:, chosen] - data.base[:, None])
    n = (~np.isnan(data.steered[:, chosen]) & ~np.isnan(data.base[:, None])).sum(0)
    sums = np.zeros((int(data.cluster.max()) + 1, len(chosen)))
    np.add.at(sums, data.cluster, difference)
    means = sums / np.where(n, n, 1)
    signs = sign_patterns(len(sums), how.permutations, np.random.default_rng([seed, 2]))
    observed = np.where(n, means.sum(0), np.nan)
    adjust: Adjust = "none" if how.correction == "holm" else how.correction
    found = permutation_test(observed, np.zeros(len(chosen)), lambda block: signs @ means[:, block], len(signs), adjust)
    return Tested(found.p, holm(found.p)) if how.correction == "holm" else found


def sign_patterns(n_clusters: int, most: int, rng: np.random.Generator) -> np.ndarray:
    """[flips, clusters] of -1 and 1: every pattern but the one observed, or `most` random ones."""
    if n_clusters < 63 and 2**n_clusters - 1 <= most:
        patterns = np.arange(1, 2**n_clusters)[:, None] >> np.arange(n_clusters) & 1
        return 1.0 - 2.0 * patterns
    return rng.choice([-1.0, 1.0], size=(most, n_clusters))


def _beside_random(frame: pd.DataFrame, about: pd.DataFrame, arm: str) -> dict[str, float]:
    """The median difference of a plan's draws by kind, and the share of all its draws with a smaller absolute difference."""
    is_draw = ((about["of"] == arm) & (about["kind"] == "random")).to_numpy(bool)
    draws, match = frame["difference"].to_numpy()[is_draw], about["match"].to_numpy()[is_draw]
    known = draws[~np.isnan(draws)]
    own = abs(float(frame.loc[frame["arm"] == arm, "difference"].iloc[0]))
    found = {f"random_median_{m}": _median(draws[match == m]) for m in MATCHES}
    return found | {"beats_random": float((np.abs(known) < own - 1e-12).mean()) if len(known) else np.nan}


def _median(draws: np.ndarray) -> float:
    known = draws[~np.isnan(draws)]
    return float(np.median(known)) if len(known) else np.nan
