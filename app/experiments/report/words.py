"""A claim's answer in sentences: what was measured, what random experts do, what the paper says."""

import math
from statistics import median

from ..recipe import NOTHING, change, interval, level, levels, p_value, said, unit_of
from .facts import ClaimFacts
from .labels import arm_label, given

_WORDS = {"down": "fall", "up": "rise", "none": "stay"}


def about_effect(facts: ClaimFacts) -> str:
    """The levels, the change with its interval and p, and on how many prompts."""
    if facts.plan is None or facts.arm is None:
        return f"Not measured: {facts.row['why']}."
    metric, m = facts.claim.metric, facts.plan
    n, clusters = int(facts.effect["n"]), int(facts.effect["n_clusters"])
    where = f"{facts.claim.prompts}, {n} prompts" + (f" in {clusters} clusters" if clusters < n else "")
    text = f"{said(metric).capitalize()} ({where}): {level(m.base, metric)} without the plan, {level(m.steered, metric)} with it"
    text += (
        f"; a change of {change(m.difference, metric, with_unit=True)}, 95 % interval {interval(m.low, m.high, metric)}"
    )
    p = facts.row["p_adjusted"]
    return (
        text + (f", p {_is(p)} corrected over all plans." if given(p) else ".") + _relative(facts) + _perplexity(facts)
    )


def about_plan(facts: ClaimFacts) -> str:
    """Which experts, and what was done to them."""
    return "" if facts.arm is None else f"{arm_label(facts.arm)}: {facts.arm['plan']}"


def about_random(facts: ClaimFacts) -> str:
    """What every random draw did, and the other end of the ranking."""
    if facts.plan is None:
        return ""
    values = [m.difference for draws in facts.draws for m in draws.found if not math.isnan(m.difference)]
    metric = facts.claim.metric
    if not values:
        text = "No random experts were drawn."
    else:
        text = (
            f"{len(values)} draws of as many random experts: {change(min(values), metric)} to "
            f"{change(max(values), metric, with_unit=True)}, median {change(median(values), metric)}."
        )
    if facts.bottom is not None:
        b = facts.bottom
        text += f" The other end of the ranking: {change(b.difference, metric)} {interval(b.low, b.high, metric)}."
    return text


def about_paper(facts: ClaimFacts) -> str:
    """What the paper reports, how well that is known, and its change in our unit."""
    paper = facts.claim.paper
    if paper is None:
        return "No number of the paper stands beside this: the claim is ours."
    metric, model = facts.claim.metric, f"{paper.model}: " if paper.model else ""
    numbers = ""
    if paper.base is not None and paper.steered is not None and not paper.relative:
        numbers = f", {level(paper.base, metric)} to {level(paper.steered, metric)}"
    if facts.paper_change is not None:
        of_ours = " of our base" if paper.relative else ""
        numbers += f" ({change(facts.paper_change, metric, with_unit=True)}{of_ours})"
    return f"{model}{paper.what}{numbers}{f' [{paper.grade}]' if paper.grade else ''}."


def about_dose(facts: ClaimFacts) -> str:
    """How much the plan really changed."""
    if facts.dose is None or not given(facts.dose["tokens"]):
        return ""
    d = {name: int(facts.dose[name]) for name in ("tokens", "tokens_changed", "slots", "slots_changed")}
    text = f"{d['tokens_changed']:,} of {d['tokens']:,} tokens and {d['slots_changed']:,} of {d['slots']:,} expert slots changed."
    return text + (" The plan changed nothing: no token met it." if not d["slots_changed"] else "")


def about_asked(facts: ClaimFacts) -> str:
    """What would have counted as the claimed effect."""
    claim, metric = facts.claim, facts.claim.metric
    if claim.direction == "none":
        return f"claimed to stay within ±{change(claim.within, metric, with_unit=True).lstrip('+')}"
    least = change(facts.at_least, metric, with_unit=True).lstrip("+")
    return f"claimed to {_WORDS[claim.direction]}; a change of {least} or more is what the claim is about"


def cells(facts: ClaimFacts) -> dict[str, str]:
    """The claim's numbers for the table of answers: change, levels, interval, random, paper."""
    metric, row = facts.claim.metric, facts.row
    paper = change(facts.paper_change, metric) if facts.paper_change is not None else NOTHING
    if facts.plan is None:
        return {"change": NOTHING, "levels": "", "interval": NOTHING, "random": NOTHING, "paper": paper}
    m = facts.plan
    drawn = (
        f"{change(row['random_low'], metric)} to {change(row['random_high'], metric)}" if row["n_draws"] else NOTHING
    )
    return {
        "change": change(m.difference, metric),
        "levels": levels(m.base, m.steered, metric),
        "interval": interval(m.low, m.high, metric),
        "random": drawn,
        "paper": paper,
    }


def _relative(facts: ClaimFacts) -> str:
    """The change as a share of the base, where the base is not nothing and the metric is a share."""
    m = facts.plan
    if m is None or facts.claim.direction == "none" or unit_of(facts.claim.metric).factor == 1 or not m.base > 0:
        return ""
    share = 100 * m.difference / m.base
    return f" That is {abs(share):.0f} % {'fewer' if share < 0 else 'more'} than before." if abs(share) >= 1 else ""


def _perplexity(facts: ClaimFacts) -> str:
    """The same as perplexity, for a loss per token."""
    m = facts.plan
    if m is None or facts.claim.metric != "nll":
        return ""
    return f" As perplexity: {math.exp(m.base):.4g} to {math.exp(m.steered):.4g}."


def _is(p: float) -> str:
    text = p_value(p)
    return text if text.startswith("<") else f"= {text}"
