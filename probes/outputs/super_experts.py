"""Which few experts write extreme values: super experts."""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from probes.checked import checked
from probes.magnitudes import GUARD, Judged, MassiveRule, Rule, forming_layers, judged, rule_from, verdict
from probes.outputs.writers import WritingGroup, writers_of, writing_groups
from probes.ranking import (
    DEAD,
    NOT_FINITE,
    SUPER_EXPERT,
    TIES,
    ExpertScores,
    join_flags,
    not_finite_note,
    ranked,
    refs_of,
    steering_note,
    tied,
)

if TYPE_CHECKING:
    from workbench.store import Store

TOGETHER = "writes with others"
UNGUARDED = "passes the rule, not the guard"
INFORMATIVE = 400
"""Among fewer experts than this the 99.5th percentile lies between the two largest values (ours)."""


@checked
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
            `probes.MassiveRule`, which has the comparison with the token's own median too). `--set massive.absolute=1000`
            on the command line, `massive.absolute = 1000` in a recipe
    shared  shared experts too, as the paper does; the column is_shared tells them apart

    Super experts that write one massive activation together (the same channel of the same token, in whatever layers) are
    flagged "writes with others" besides, and a note says which, and what share each writes (`writers_of`).

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
    massive = massive or MassiveRule()
    found = judged(store, rule, massive=massive, guard=guard, shared=shared)
    frame: Any = found.frame
    several = _together(store, found, massive, store.anatomy.fingerprint)
    members = {ref for group in several for ref in group.experts}
    flags = {SUPER_EXPERT: found.is_super, TOGETHER: np.array([ref in members for ref in refs_of(frame)], bool)}
    flags |= {UNGUARDED: found.verdict.passes & ~found.is_super}
    flags |= {NOT_FINITE: found.broken, DEAD: found.dead, TIES: tied(frame["score"], ~found.dead)}
    missing = dict.fromkeys(("low", "high", "p", "p_adjusted"), np.nan)
    options: dict[str, Any] = {"rule": rule, "guard": guard, "massive": list(massive), "shared": shared}
    notes = (
        *steering_note(store),
        *not_finite_note(store, frame[found.broken]),
        *_notes(found, massive, guard, several),
    )
    full = ranked(frame.assign(flags=join_flags(flags), **missing))
    return ExpertScores("super_experts", options, full, notes, store.anatomy.fingerprint, store.anatomy.model)


def _together(store: "Store", found: Judged, massive: MassiveRule, fingerprint: str) -> tuple[WritingGroup, ...]:
    """The super experts that write a massive activation together."""
    experts = refs_of(found.frame[found.is_super], fingerprint)
    return writing_groups(writers_of(store, massive), experts) if len(experts) > 1 else ()


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
    found = verdict(frame, rule, forming, len(store.anatomy.layers))
    medians: dict[Any, Any] = frame.groupby("layer")["score"].median().to_dict()
    layers = np.unique(frame["layer"].to_numpy()[found.eligible])
    return Thresholds(
        found.limits, tuple(int(n) for n in layers), {int(n): GUARD * float(v) for n, v in medians.items()}
    )


def _where(forming: tuple[int, ...]) -> str:
    """Layer 11 forms; layers 1, 2 form; no layer forms."""
    if len(forming) == 1:
        return f"layer {forming[0]} forms"
    return f"layers {', '.join(map(str, forming))} form" if forming else "no layer forms"


def _notes(found: Judged, massive: MassiveRule, guard: bool, several: tuple[WritingGroup, ...]) -> tuple[str, ...]:
    verdict, forming = found.verdict, found.forming
    notes = [f"{_where(forming)} massive activations ({massive}, a rule of ours)", verdict.said]
    notes += [f"written together: {group} (shares of |h|); muting one of them alone may do little" for group in several]
    if verdict.uses_percentile and verdict.n < INFORMATIVE:
        notes.append(f"the 99.5th percentile is not informative among {verdict.n} experts (fewer than {INFORMATIVE})")
    if not guard:
        noise = "1 in 200 of pure noise passes a 99.5th percentile" if verdict.uses_percentile else "noise may pass"
        notes.append(f"without the guard: {noise}")
    return (*notes, "no p-value, no interval: a maximum has no null of labels, and its bootstrap interval is not valid")
