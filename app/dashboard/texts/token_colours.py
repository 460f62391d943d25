"""Tokens of a text coloured by what one layer did with them: by expert, by how decided the routing was, by output size."""

from collections import Counter
from typing import NamedTuple

import numpy as np

from probes.utilisation import weight_entropy

from ..widgets import SERIES, Chip, ramp
from .trace import LayerTrace, Trace

EXPERT = "strongest expert"
ONE_EXPERT = "weight of one expert"
_NUMBERS = {
    "entropy of the routing weights": "bits",
    "margin between the two largest weights": "difference of weights",
    "output size, L2 norm": "largest L2 norm of its experts' outputs",
    "output size, largest |value|": "largest |value| of its experts' outputs",
}
COLOURINGS = (EXPERT, *_NUMBERS, ONE_EXPERT)
_TOLD = 8  # experts of a token, when it is pointed at
_NAMED = len(SERIES) - 1  # the last colour is for all other experts


class Coloured(NamedTuple):
    """Chips of a text, the legend as chips, and what the colours mean."""

    chips: list[Chip]
    legend: list[Chip]
    meaning: str


def coloured(trace: Trace, layer: int, by: str, expert: int = 0) -> Coloured:
    """The text coloured by one of `COLOURINGS`."""
    if by == EXPERT:
        return _by_expert(trace, layer)
    values, unit = _values(trace.layers[layer], by, expert), _NUMBERS.get(by, f"routing weight of E{expert}")
    known = values[~np.isnan(values)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 0.0)
    strength = (values - low) / (high - low) if high > low else np.where(np.isnan(values), np.nan, 0.0)
    made = [
        _chip(trace, layer, i, "" if v != v else f"{unit}: {v:.4g}", "" if s != s else ramp(float(s)))
        for i, (v, s) in enumerate(zip(values, strength, strict=True))
    ]
    legend = (
        [Chip(f" {low + s * (high - low):.3g} ", unit, "", ramp(s)) for s in (0, 0.25, 0.5, 0.75, 1)]
        if len(known)
        else []
    )
    return Coloured(made, legend, unit if len(known) else f"{unit}: this text has no such number in layer {layer}")


def _values(found: LayerTrace, by: str, expert: int) -> np.ndarray:
    """[tokens] the number; NaN where there is none."""
    routed = found.expert[:, 0] >= 0
    if by == ONE_EXPERT:
        values = np.where(found.expert == expert, found.weight, 0).sum(axis=1)
        return np.where(values > 0, values, np.nan)
    if by.startswith("entropy"):
        values = weight_entropy(found.weight)
    elif by.startswith("margin"):
        best = -np.sort(-found.weight, axis=1)
        values = best[:, 0] - best[:, 1] if best.shape[1] > 1 else best[:, 0]
    else:
        sizes = found.l2 if "L2" in by else found.max_abs
        values = np.where(np.isnan(sizes), -np.inf, sizes).max(axis=1)
        routed &= np.isfinite(values)
    return np.where(routed, values, np.nan)


def _by_expert(trace: Trace, layer: int) -> Coloured:
    found = trace.layers[layer]
    best = found.expert[np.arange(len(found.expert)), found.weight.argmax(axis=1)].tolist()
    counted = Counter(e for e in best if e >= 0)
    colour = {e: f"{SERIES[i]}73" for i, (e, _) in enumerate(counted.most_common(_NAMED))}
    made = [_chip(trace, layer, i, "", colour.get(e, f"{SERIES[-1]}40" if e >= 0 else "")) for i, e in enumerate(best)]
    legend = [
        Chip(f" E{e} \u00d7 {counted[e]} ", f"expert {e} has the largest weight of {counted[e]} tokens", "", c)
        for e, c in colour.items()
    ]
    others = sum(n for e, n in counted.items() if e not in colour)
    if others:
        legend.append(Chip(f" others \u00d7 {others} ", "all other experts together", "", f"{SERIES[-1]}40"))
    return Coloured(made, legend, f"the expert of layer {layer} with the token's largest weight")


def _chip(trace: Trace, layer: int, i: int, said: str, colour: str) -> Chip:
    found = trace.at(layer, i)
    slots = ", ".join(f"E{e} {w:.3f}" for e, w, *_ in found[:_TOLD])
    slots += f", and {len(found) - _TOLD} more" if len(found) > _TOLD else ""
    part = "prompt" if i < trace.n_prompt else "answer"
    tip = f"position {i}, {trace.roles[i]}, {part}\nlayer {layer}: {slots or 'not routed'}"
    return Chip(trace.tokens[i], f"{tip}\n{said}" if said else tip, "" if slots else "quiet", colour)
