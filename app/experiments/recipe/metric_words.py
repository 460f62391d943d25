"""How the numbers of a metric are written: shares in percent and points, counts and nats as they are."""

import math
from typing import NamedTuple

_NATS = ("nll", "kl", "kl_first", "choice_margin")
_COUNTS = {"length": "characters", "thinking_length": "words", "thought_switches": "switches"}
_SAID = {
    "refused": "refusals",
    "phrase_refused": "refusals by published phrases",
    "revealed": "withheld answers given",
    "exact": "exactly right answers",
    "faithful": "answers that follow the document",
    "choice": "right choices",
    "thinks": "answers that open a thought",
    "thinking_ended": "thoughts that end",
    "repetition": "repeated word 4-grams",
    "collapsed": "answers that go round in circles",
    "length": "length of the answer",
    "thinking_length": "length of the thought",
    "thought_switches": "switches of thought",
    "choice_normalised": "right choices, by length",
    "choice_margin": "margin of the right choice",
    "judge": "judged yes",
    "nll": "loss per token of given text",
    "kl": "KL divergence to the base",
    "kl_first": "KL divergence at the first token",
    "sink_share": "attention to the first token",
}
NOTHING = "–"


class Unit(NamedTuple):
    """A metric's unit: what a level is written in, and what a difference is written in."""

    level: str
    change: str
    factor: float
    decimals: int


def unit_of(metric: str) -> Unit:
    """Shares (everything that is not known to be another thing) are shown as percent, their differences as points."""
    if metric in _NATS:
        return Unit("nats", "nats", 1.0, 3)
    if metric in _COUNTS:
        return Unit(_COUNTS[metric], _COUNTS[metric], 1.0, 1)
    return Unit("%", "points", 100.0, 1)


def said(metric: str) -> str:
    """The metric in words."""
    return _SAID.get(metric, f"answers in {metric[3:]}" if metric.startswith("in_") else metric.replace("_", " "))


def called(prompts: str, metric: str) -> str:
    """A metric on a prompt set; a recipe's own metric says by its name what it is about."""
    is_known = metric in _SAID or metric.startswith("in_") or ":" in metric
    return f"{prompts} ({said(metric)})" if is_known else said(metric)


def level(value: float | None, metric: str) -> str:
    """A measured value: "38 %", "1.234 nats"."""
    if value is None or math.isnan(value):
        return NOTHING
    unit = unit_of(metric)
    return f"{_number(unit.factor * value, unit.decimals)}\u00a0{unit.level}"


def levels(before: float, after: float, metric: str) -> str:
    """Two values, with the unit once: "7.8 to 4 words", "38 to 5 %"."""
    return f"{level(before, metric).split(chr(160))[0]} to {level(after, metric)}"


def change(value: float | None, metric: str, *, with_unit: bool = False) -> str:
    """A difference with its sign: "-33.1"; in points for shares."""
    if value is None or math.isnan(value):
        return NOTHING
    unit = unit_of(metric)
    text = _number(unit.factor * value, unit.decimals)
    text = text if text.startswith("-") or not text.strip("0.") else f"+{text}"
    return f"{text.replace('-', '−')}\u00a0{unit.change}" if with_unit else text.replace("-", "−")


def interval(low: float, high: float, metric: str) -> str:
    """An interval of a difference: "[-47, -20]"."""
    return f"[{change(low, metric)}, {change(high, metric)}]" if not math.isnan(low) else "no interval"


def p_value(value: float | None) -> str:
    """A p-value for a sentence or a cell."""
    if value is None or math.isnan(value):
        return NOTHING
    return "1" if value >= 0.9995 else f"{value:.3f}" if value >= 0.001 else "< 0.001"


def _number(value: float, decimals: int) -> str:
    text = f"{value:.{decimals}f}"
    text = text.rstrip("0").rstrip(".") if decimals == 1 and text.endswith(".0") else text
    return "0" if not text.strip("-0.") else text
