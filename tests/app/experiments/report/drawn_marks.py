"""The marks of a claim's figure as numbers, and where this arithmetic puts them."""

import math
import re
from typing import Any

from workbench_app.experiments.recipe import Claim
from workbench_app.experiments.report.facts import ClaimFacts, Draws, Measured

NAN = math.nan

Mark = tuple[str, ...]


def measured(
    difference: float, low: float = NAN, high: float = NAN, base: float = 0.5, plan: str = "off L1E1"
) -> Measured:
    return Measured("", plan, base, base + difference, difference, low, high)


PLAN = measured(-0.3, -0.4, -0.2)

DRAWS = (Draws("random, same number", (measured(0.05, plan="off L0E0"), measured(NAN), measured(-0.05, plan="off L0E1"))),
         Draws("random, used as often", (measured(0.0, plan="off L0E2"),)))  # fmt: skip


def facts(metric: str = "refused", direction: Any = "down", paper: Any = None, **changes: Any) -> ClaimFacts:
    claim = Claim(name="c", text="Refusals fall", prompts="held", metric=metric, direction=direction, paper=paper)
    row = {"verdict": "appears", "model": "some/model"}
    whole = ClaimFacts(claim, row, {}, {}, PLAN, DRAWS, measured(0.1, 0.04, 0.1, plan="off L9E9"), (), None, 0.1, None)
    return whole._replace(**changes)


def marks(svg: str, *kinds: str) -> list[Mark]:
    """What is drawn in these classes, in order: the class, the numbers, the words."""
    found = re.findall(r"<(\w+) ([^>]*?)/?>(?:<title>(.*?)</title>|([^<]*))", svg)
    shapes = [(re.search(r'class="([^"]*)"', about), about, tip or words) for _, about, tip, words in found]
    of_kind = [(kind.group(1), about, words) for kind, about, words in shapes if kind and kind.group(1) in kinds]
    return [(kind, *re.findall(r"-?\d+\.\d", about), *([words] if words else [])) for kind, about, words in of_kind]


def at(low: float, high: float, start: float = 258.0, stop: float = 630.0) -> Any:
    """A straight scale as text with one decimal."""
    return lambda v: f"{start + (v - low) * (stop - start) / (high - low):.1f}"


def plain(svg: str) -> str:
    return svg.replace("\u00a0", " ")
