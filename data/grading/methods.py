"""The published scores and their variants that are graded, each over a captured store."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from probes import ExpertScores, contrast, ftri, npmi, usage
from workbench.store import Store

Method = Callable[[Store], ExpertScores]
QUICK = {"n_permutations": 0, "n_bootstrap": 0}
# what a plan may be chosen by: fTRI in a variant, nPMI or contrast; usage is the naive baseline
PUBLISHED = (
    "ftri prompt",
    "ftri last_prompt",
    "ftri last_prompt weight",
    "npmi refusals",
    "contrast response",
)


def methods(target: str, baseline: str) -> dict[str, Method]:
    """By name. Target and baseline are labels: refused against answered, or on a base that refuses nothing, sensitive=yes."""
    quick = QUICK
    found: dict[str, Method] = {
        "ftri prompt": partial(ftri, target=target, baseline=baseline, tokens="prompt", **quick),
        "ftri last_prompt": partial(ftri, target=target, baseline=baseline, tokens="last_prompt", **quick),
        "ftri last_prompt weight": partial(
            ftri, target=target, baseline=baseline, tokens="last_prompt", reduce="weight", **quick
        ),
        "npmi refusals": partial(npmi, target=target, tokens="last_prompt", **quick),
        "contrast response": partial(contrast, target=target, baseline=baseline, tokens="response", **quick),
        "usage of target": partial(usage, tokens="last_prompt", n_bootstrap=0),
    }
    return found


def thinking_methods() -> dict[str, Method]:
    """RICE's score over generated sums: markers, and the opening alone."""
    return {
        "npmi markers": partial(npmi, tokens="all", **QUICK),
        "npmi opening": partial(npmi, token="<think>", tokens="all", **QUICK),
        "ftri last_prompt": partial(
            ftri, target="thinks=always", baseline="thinks=never", tokens="last_prompt", **QUICK
        ),
    }
