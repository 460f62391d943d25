"""Which few experts write extreme values: super experts."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np
import pandas as pd

from probes.assemble import steering_note
from probes.extremes import extremes
from probes.flags import join_flags, not_finite_note, tied
from probes.massive import MassiveRule, forming_layers, rule_from
from probes.scores import DEAD, NOT_FINITE, SUPER_EXPERT, TIES, ExpertScores, ranked
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
UNGUARDED = "passes the rule, not the guard"
GUARD = 10.0
"""How many medians of its layer an expert must exceed (ours)."""
INFORMATIVE = 400
"""Among fewer experts than this the 99.5th percentile lies between the two largest values (ours)."""


def super_experts(
    store: "Store",
    rule: Rule = "tenth_of_max",
    *,
    massive: MassiveRule | None = None,
    guard: bool = True,
    shared: bool = True,
) -> ExpertScores:
    """The largest absolute output value of every expert, with super experts flagged.

        score a[e] = max over tokens and channels of |output of expert e|, before the routing weight

    rule  "tenth_of_max"          in a layer that forms massive activations; a > max / 10 over the experts of those layers:
                                  the paper's rule without its percentile, which among few experts lets only the largest
                                  pass, while several may write a massive activation together (ours)
          "paper"                 in a layer that forms massive activations; a > 99.5th percentile and a > max / 10, both
                                  over the experts of those layers (Eq. 6, Algorithm 1)
          "paper_all_layers"      the same with the percentile and maximum over all layers, which gives the percentiles
                                  that the paper prints
          "repository"            layers below round(0.75 x layers), massive or not; a > 99.5th percentile and
                                  a > floor(max / 10) over the experts of those layers
          "repository_first_row"  the same on what the repository measures: of each sequence only the first token that the
                                  expert received. A lower bound of a, and the score then
          "mean_3_std"            a > mean + 3 standard deviations, over the layers of "repository" (in its code, not used)
          "fifty_times_mean"      a > 50 x mean, likewise
    guard   flag "super expert" only where a massive-activation layer exists, the expert's layer is one of them, and a
            exceeds ten times the median of its layer (ours: 1 in 200 of pure noise passes a 99.5th percentile). What passes
            the rule alone is flagged "passes the rule, not the guard". False: the rule alone decides
    massive which layers form massive activations, judged against the layer's ordinary tokens (ours;
            `probes.massive.MassiveRule`, which has the comparison with the token's own median too)
    shared  shared experts too, as the paper does; the column is_shared tells them apart

    Range [0, inf), in units of the residual stream. Null for an expert never selected (flag "dead"). Values that are not
    finite are left out (flag "not finite"; null where no other is there). n: tokens it received with a finite value; an
    expert with few may not have met the one that sets it off (the first, usually). No interval and no p-value: a maximum
    has no null of labels, and its bootstrap interval is not valid. Below 400 experts the notes say that the percentile is
    not informative.

    Paper: arXiv 2507.23279 v3 (Eq. 6, Algorithm 1) and repository ZunhaiSu/Super-Experts-Profilling at 573aead. The paper
    gives no rule for massive activations.

    Not evidence that the expert matters to a behaviour: muting a super expert breaks the model, whatever is asked; where
    several write a massive activation together, muting one of them alone may do little. Not a complete list either where
    the store's prompts never start a sequence the way training did, or where a norm behind the experts (Gemma's) decides
    what of their output reaches the residual stream.
    Raises `WorkbenchError` when the store kept no norms or no residual, and for an unknown rule.
    """
    if rule not in get_args(Rule):
        raise WorkbenchError(f"rule='{rule}' is not known; it can be {', '.join(get_args(Rule))}.")
    massive = massive or MassiveRule()
    forming = forming_layers(store, massive)
    frame: Any = extremes(store, first_row=rule == "repository_first_row")
    frame = frame if shared else frame[~frame["is_shared"]].reset_index(drop=True)
    verdict = _verdict(frame, rule, forming, len(store.anatomy.layers))
    passes = verdict.passes & (_guarded(frame, forming) if guard else True)
    dead, broken = frame["received"].to_numpy() == 0, (frame["n"] < frame["received"]).to_numpy()
    flags = {SUPER_EXPERT: passes, UNGUARDED: verdict.passes & ~passes, NOT_FINITE: broken, DEAD: dead}
    flags[TIES] = tied(frame["score"], ~dead)
    missing = dict.fromkeys(("low", "high", "p", "p_adjusted"), np.nan)
    options: dict[str, Any] = {"rule": rule, "guard": guard, "massive": list(massive), "shared": shared}
    notes = (*steering_note(store), *not_finite_note(store, frame[broken]), *_notes(verdict, forming, massive, guard))
    full = ranked(frame.assign(flags=join_flags(flags), **missing))
    return ExpertScores("super_experts", options, full, notes, store.anatomy.fingerprint, store.anatomy.model)


class Thresholds(NamedTuple):
    """What a rule compares an expert's largest output value with."""

    limits: dict[str, float]
    """By name; an expert has to exceed all of them. Empty when there is no expert to compare."""
    layers: tuple[int, ...]
    """Decoder layers in which an expert can pass."""
    guards: dict[int, float]
    """By layer, what the guard asks for besides: ten medians of the layer."""


def thresholds(store: "Store", scores: ExpertScores) -> Thresholds:
    """The thresholds behind an answer of `super_experts` on this store: for drawing them."""
    forming = forming_layers(store, rule_from(scores.options["massive"]))
    frame: Any = scores.frame
    rule = scores.options["rule"]
    verdict = _verdict(frame, rule, forming, len(store.anatomy.layers))
    medians: dict[Any, Any] = frame.groupby("layer")["score"].median().to_dict()
    layers = np.unique(frame["layer"].to_numpy()[verdict.eligible])
    return Thresholds(
        verdict.limits, tuple(int(n) for n in layers), {int(n): GUARD * float(v) for n, v in medians.items()}
    )


class _Verdict(NamedTuple):
    passes: np.ndarray  # [rows]
    eligible: np.ndarray  # [rows]: in a layer that the rule looks at
    limits: dict[str, float]
    n: int  # experts the thresholds were taken over
    said: str
    uses_percentile: bool


def _verdict(frame: pd.DataFrame, rule: str, forming: tuple[int, ...], n_layers: int) -> _Verdict:
    """Which rows pass the rule, and over what. Values of experts never selected take no part."""
    layer, score = frame["layer"].to_numpy(), frame["score"].to_numpy(np.float64)
    if rule.startswith(("paper", "tenth")):
        eligible = np.isin(layer, forming)
        over = np.ones(len(frame), bool) if rule == "paper_all_layers" else eligible
    else:
        eligible = over = layer < round(0.75 * n_layers)
    values = score[over & ~np.isnan(score)]
    if not len(values):
        return _Verdict(np.zeros(len(frame), bool), eligible, {}, 0, "no expert to compare", False)
    limits = _LIMITS[rule](values)
    passes = eligible & ~np.isnan(score) & np.all([score > limit for limit in limits.values()], axis=0)
    said = ", ".join(f"{name} = {limit:.4g}" for name, limit in limits.items())
    return _Verdict(
        passes, eligible, limits, len(values), f"over {len(values)} experts {said}", "99.5th percentile" in limits
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


def _guarded(frame: pd.DataFrame, forming: tuple[int, ...]) -> np.ndarray:
    """Bool [rows]: in a massive-activation layer, and above ten medians of the layer's experts."""
    median: Any = frame.groupby("layer")["score"].transform("median")
    return (frame["layer"].isin(forming) & (frame["score"] > GUARD * median)).to_numpy(bool)


def _notes(verdict: _Verdict, forming: tuple[int, ...], massive: MassiveRule, guard: bool) -> tuple[str, ...]:
    where = f"layers {', '.join(map(str, forming))} form" if forming else "no layer forms"
    notes = [f"{where} massive activations ({massive}, a rule of ours)", verdict.said]
    if verdict.uses_percentile and verdict.n < INFORMATIVE:
        notes.append(f"the 99.5th percentile is not informative among {verdict.n} experts (fewer than {INFORMATIVE})")
    if not guard:
        noise = "1 in 200 of pure noise passes a 99.5th percentile" if verdict.uses_percentile else "noise may pass"
        notes.append(f"without the guard: {noise}")
    return (*notes, "no p-value, no interval: a maximum has no null of labels, and its bootstrap interval is not valid")
