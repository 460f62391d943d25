"""Every ranking of a store's experts by name, beside two that know less: what the words alone say, and no score at all."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

import numpy as np
import pandas as pd
from grading.found import FIRST, average_precision
from grading.methods import methods

from probes import contrast
from probes.agreement import rankings
from workbench.store import Store

BASELINES = ("token id alone", "no score")
READINGS = ("ftri prompt", "ftri last_prompt", "ftri last_prompt weight", "npmi refusals", "contrast response")
"""The readings that the card of the bundled model grades, beside each probe's defaults."""
KEYS = ["layer", "expert"]


def scores_of(store: Store, target: str, baseline: str) -> tuple[pd.DataFrame, dict[str, list[str]]]:
    """`ranked`, and besides the readings of it that the card grades."""
    table, refused = ranked(store, target, baseline)
    readings = {name: method(store) for name, method in methods(target, baseline).items() if name in READINGS}
    own = table.columns.difference(BASELINES, sort=False)
    more = pd.DataFrame({name: _by_expert(one.frame) for name, one in readings.items()})
    return pd.concat([table[own], more, table[[*BASELINES]]], axis=1).sort_index(), refused


def ranked(store: Store, target: str, baseline: str | None) -> tuple[pd.DataFrame, dict[str, list[str]]]:
    """A row for every routed expert and a column for every ranking that the store allows, and by reason those that it refuses.

    token id alone  the part of `contrast` that the tokens' ids predict: the whole of it less what is left beyond them
    no score        all experts alike, which `found` puts in random orders
    """
    asked = rankings(store, target, baseline)
    table = pd.DataFrame({name: _by_expert(one.frame) for name, one in asked.scores.items()})
    whole, beyond = (
        _by_expert(contrast(store, target=target, baseline=baseline, beyond=way, n_bootstrap=0, n_permutations=0).frame)
        for way in ("nothing", "token")
    )
    table[BASELINES[0]] = whole - beyond
    table[BASELINES[1]] = 0.0
    return table.sort_index(), {reason: list(names) for reason, names in asked.refused.items()}


def _by_expert(frame: Any) -> pd.Series:
    return frame[~frame["is_shared"]].set_index(KEYS)["score"]


def found(table: pd.DataFrame, carriers: Set[tuple[int, int]]) -> dict[str, dict[str, float]]:
    """By ranking: hits among its first 1, 2, 4 and 8, average precision, and the area under the curve of carriers found.

    Equal scores stand in every order alike: each figure is its mean over them, so that a score which cannot tell experts apart
    gains nothing by the order of their numbers. Experts without a score come last.
    """
    return {name: _found(table[name].to_numpy(float), list(table.index), carriers) for name in table}


_DRAWS = 200


def _found(score: np.ndarray, names: list[Any], carriers: Set[tuple[int, int]]) -> dict[str, float]:
    filled = np.where(np.isnan(score), -np.inf, score)
    tied = len(np.unique(filled)) < len(filled)
    drawing = np.random.default_rng(0)
    orders = [np.lexsort((drawing.random(len(filled)), -filled)) for _ in range(_DRAWS if tied else 1)]
    each = [_of_order([names[i] for i in order], {*carriers}) for order in orders]
    return {name: float(np.mean([one[name] for one in each])) for name in each[0]}


def _of_order(ranking: list[Any], wanted: set[Any]) -> dict[str, float]:
    """ranking: best first."""
    hits = np.cumsum([expert in wanted for expert in ranking])
    return {
        **{f"hits in {n}": float(hits[n - 1]) for n in FIRST},
        "average precision": average_precision(ranking, wanted),
        "area": float((hits / len(wanted)).mean()),
    }
