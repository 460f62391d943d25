"""Which experts write extreme values: published rules over the largest outputs of a store, and a guard of ours."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np
import pandas as pd

from probes.magnitudes.extremes import extremes
from probes.magnitudes.massive import MassiveRule, forming_layers
from workbench.errors import WorkbenchError

if TYPE_CHECKING:
    from workbench.store import Store

Rule = Literal[
    "tenth_of_max",
    "paper",
    "paper_all_layers",
    "repository",
    "repository_first_row",
    "mean_3_std",
    "fifty_times_mean",
]
GUARD = 10.0
"""How many medians of its layer an expert must exceed (ours)."""


class Judged(NamedTuple):
    """Every expert beside a rule; arrays are by row of `frame`."""

    frame: pd.DataFrame
    """As `extremes` gives it."""
    is_super: np.ndarray
    """Bool: passes the rule, and the guard where one was asked for."""
    broken: np.ndarray
    """Bool: some of its values are not finite."""
    dead: np.ndarray
    """Bool: no token selected it."""
    verdict: "Verdict"
    forming: tuple[int, ...]
    """Decoder layers that form massive activations."""


def judged(
    store: "Store",
    rule: Rule = "tenth_of_max",
    *,
    massive: MassiveRule | None = None,
    guard: bool = True,
    shared: bool = True,
) -> Judged:
    """The store's experts by a rule; the arguments and errors are those of `probes.super_experts`."""
    if rule not in get_args(Rule):
        raise WorkbenchError(f"rule='{rule}' is not known; it can be {', '.join(get_args(Rule))}.")
    forming = forming_layers(store, massive or MassiveRule())
    frame: Any = extremes(store, first_row=rule == "repository_first_row")
    frame = frame if shared else frame[~frame["is_shared"]].reset_index(drop=True)
    found = verdict(frame, rule, forming, len(store.anatomy.layers))
    is_super = found.passes & (guarded(frame, forming) if guard else True)
    dead, broken = frame["received"].to_numpy() == 0, (frame["n"] < frame["received"]).to_numpy()
    return Judged(frame, is_super, broken, dead, found, forming)


class Verdict(NamedTuple):
    passes: np.ndarray  # [rows]
    eligible: np.ndarray  # [rows]: in a layer that the rule looks at
    limits: dict[str, float]
    n: int  # experts the thresholds were taken over
    said: str
    uses_percentile: bool


def verdict(frame: pd.DataFrame, rule: str, forming: tuple[int, ...], n_layers: int) -> Verdict:
    """Which rows pass the rule, and over what. Values of experts never selected take no part."""
    layer, score = frame["layer"].to_numpy(), frame["score"].to_numpy(np.float64)
    if rule.startswith(("paper", "tenth")):
        eligible = np.isin(layer, forming)
        over = np.ones(len(frame), bool) if rule == "paper_all_layers" else eligible
    else:
        eligible = over = layer < round(0.75 * n_layers)
    values = score[over & ~np.isnan(score)]
    if not len(values):
        return Verdict(np.zeros(len(frame), bool), eligible, {}, 0, "no expert to compare", False)
    limits = _LIMITS[rule](values)
    passes = eligible & ~np.isnan(score) & np.all([score > limit for limit in limits.values()], axis=0)
    said = ", ".join(f"{name} = {limit:.4g}" for name, limit in limits.items())
    return Verdict(
        passes,
        eligible,
        limits,
        len(values),
        f"of the {len(values)} experts that the rule looks at: {said}",
        "99.5th percentile" in limits,
    )


def _tenth_of_max(values: np.ndarray) -> dict[str, float]:
    return {"max / 10": float(values.max()) / 10}


def _paper_limits(values: np.ndarray) -> dict[str, float]:
    return {"99.5th percentile": float(np.percentile(values, 99.5))} | _tenth_of_max(values)


def _repository_limits(values: np.ndarray) -> dict[str, float]:
    return {"99.5th percentile": float(np.percentile(values, 99.5)), "floor(max / 10)": float(values.max() // 10)}


_LIMITS: dict[str, Callable[[np.ndarray], dict[str, float]]] = {
    "tenth_of_max": _tenth_of_max,
    "paper": _paper_limits,
    "paper_all_layers": _paper_limits,
    "repository": _repository_limits,
    "repository_first_row": _repository_limits,
    "mean_3_std": lambda values: {"mean + 3 std": float(values.mean() + 3 * values.std())},
    "fifty_times_mean": lambda values: {"50 x mean": float(50 * values.mean())},
}


def guarded(frame: pd.DataFrame, forming: tuple[int, ...]) -> np.ndarray:
    """Bool [rows]: in a massive-activation layer, and above ten medians of the layer's experts."""
    median: Any = frame.groupby("layer")["score"].transform("median")
    return (frame["layer"].isin(forming) & (frame["score"] > GUARD * median)).to_numpy(bool)
