"""What the switchboard is coloured by: what this store can answer, first what tells its experts apart, or the last answer."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from probes.catalogue import RANKERS
from workbench import ExpertRef, WorkbenchError
from workbench.answering import StreamedToken

from ..session import View
from ..widgets import SEQUENTIAL
from .measures import Measure, measures_for, values_of


class Colouring(NamedTuple):
    """A value per expert, its unit, and the palette; `note` says why there is none, or that all are alike.

    middle  the value at the middle of two colours, where that is not zero
    """

    values: dict[ExpertRef, float]
    unit: str
    palette: str
    note: str = ""
    middle: float | None = None


THIS_ANSWER = "the answer just generated"
NO_STORE = (
    "No store of this model yet: ask something, and the board shows which experts answered. "
    "A capture under Captures and runs lets you rank them."
)
ALIKE = "All experts that have a value have the same, so these colours tell none apart; choose another under Colour by."
_WITHOUT_CHOICE = ("largest output", "mean weight")
"""Measures that can tell experts apart where every token selects all of them."""


def colour_choices(view: View) -> dict[str, Measure]:
    """What this view's store can colour by, by name: first the measure that tells its experts apart, classes before load."""
    if view.store is None:
        return {}
    measures = sorted(measures_for(view, view.store).measures, key=lambda m: not _compares(m))
    found = {m.name: m for m in measures}
    first = telling(view, measures)
    return found if first is None else {first.name: first} | found


def _compares(measure: Measure) -> bool:
    return measure.method in RANKERS and bool(RANKERS[measure.method].classes)


def telling(view: View, measures: Sequence[Measure]) -> Measure | None:
    """The first measure that is not the same for every expert of this view's store."""
    layers = [view.anatomy.layer(n) for n in view.anatomy.moe_layers]
    everybody = all(layer.top_k >= layer.n_experts for layer in layers)  # then no choice tells anything
    asked = [m for name in _WITHOUT_CHOICE for m in measures if m.name == name] if everybody else measures
    return next((m for m in asked if _tells(view, m)), None)


def _tells(view: View, measure: Measure) -> bool:
    """Whether the measure can be had, and is not the same for every expert."""
    try:
        return not alike(values_of(view, measure)["score"])
    except WorkbenchError:
        return False


def alike(values: Any) -> bool:
    """Whether all numbers are one number but for rounding, or there is none."""
    found = np.asarray(list(values), np.float64)
    found = found[~np.isnan(found)]
    return not len(found) or bool(np.ptp(found) <= 1e-9 * np.abs(found).max())


def colouring(view: View, measure: Measure) -> Colouring:
    """The values of a measure over this view's store."""
    try:
        frame = values_of(view, measure)
    except WorkbenchError as error:
        return Colouring({}, measure.unit, measure.palette, str(error))
    rows = zip(frame["layer"], frame["expert"], frame["score"], strict=True)
    found = {ExpertRef(int(layer), int(e)): float(score) for layer, e, score in rows if score == score}
    if alike(found.values()):  # around a middle all would be as white as if there were none
        return Colouring(found, measure.unit, SEQUENTIAL, ALIKE)
    return Colouring(found, measure.unit, measure.palette, "", measure.middle)


def answer_colouring(tokens: Sequence[StreamedToken]) -> Colouring:
    """The share of these tokens that each expert worked on."""
    counted: Counter[ExpertRef] = Counter()
    for token in tokens:
        counted.update(ExpertRef(layer, e) for layer, slots in token.routing.items() for e, _ in slots)
    share = {ref: n / len(tokens) for ref, n in counted.items()}
    note = "Nothing was generated yet." if not tokens else ALIKE if alike(share.values()) else ""
    return Colouring(share, "share of this answer's tokens", SEQUENTIAL, note)


def strongest(colours: Colouring, n: int) -> list[ExpertRef]:
    """The `n` experts with the largest values above zero; equal ones by layer and number.

    Fewer where there are fewer, and none where all have one value: nothing comes first then.
    """
    if alike(colours.values.values()):
        return []
    ranked = sorted((-value, ref) for ref, value in colours.values.items() if value > 0)
    return [ref for _, ref in ranked[:n]]
