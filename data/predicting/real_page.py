"""The part of docs/which-score.md on a real model: effects of single experts beside their noise, and what predicts them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from grading.tables import table

from predicting.singles import BANDS, DRAWN, LEVELS
from predicting.texts import KINDS, LENGTH

Json = Mapping[str, Any]
_TEMPLATE = Path(__file__).with_name("real.md")


def real_part(figures: Json) -> str:
    """figures: what `predicting.real.measure` returns."""
    kinds: Mapping[str, Json] = figures["kinds"]
    names = [name for group in figures["clusters"] for name in group]
    each = {kind: f"{n:,} tokens of {kind}" for kind, n in figures["tokens"].items()}
    return _TEMPLATE.read_text("utf-8").format(
        model=figures["model"], all=figures["experts"], bands=BANDS, levels=LEVELS, drawn={2: "two"}.get(DRAWN, DRAWN),
        experts=kinds[KINDS[0]]["experts"], tokens=", ".join(each.values()), length=LENGTH,
        documents=figures["documents"][KINDS[0]], effects=_effects(kinds), verdict=_verdict(kinds), told=_told(kinds),
        n=len(names), first=KINDS[0], groups=len(figures["clusters"]), cut=figures["cut"],
        clusters=_clusters(figures["clusters"]), refused=_refused(figures["refused"]),
    )  # fmt: skip


def _effects(kinds: Mapping[str, Json]) -> str:
    rows = [
        [kind, f"{own['outside noise']:.0%}", f"{own['median']:+.4f}", _largest(own["worst"][0]),
         f"{own['reliability']:.2f}", f"{math.sqrt(own['reliability']):.2f}"]
        for kind, own in kinds.items()
    ]  # fmt: skip
    return table(["text", "outside noise", "median effect", "largest", "reliability", "ceiling"], rows)


def _largest(found: list[Any]) -> str:
    layer, expert, mean, low, high = found
    return f"L{layer}E{expert}: {mean:+.3f} [{low:+.3f}, {high:+.3f}]"


def _told(kinds: Mapping[str, Json]) -> str:
    names = list(dict.fromkeys(name for own in kinds.values() for name in own["told"]))
    sized = sorted(names, key=lambda name: -_mean_size(kinds, name))
    rows = [[name, *(_correlation(own["told"].get(name)) for own in kinds.values())] for name in sized]
    return table(["score", *kinds], [row for row in rows if any(row[1:])])


def _mean_size(kinds: Mapping[str, Json], name: str) -> float:
    known = [abs(own["told"][name][0]) for own in kinds.values() if _known(own["told"].get(name))]
    return sum(known) / len(known) if known else -1.0


def _known(told: list[float] | None) -> bool:
    return told is not None and not math.isnan(told[0])


def _correlation(told: list[float] | None) -> str:
    if told is None or not _known(told):
        return ""
    rho, low, high = told
    return f"{rho:+.2f} [{low:+.2f}, {high:+.2f}]"


def _verdict(kinds: Mapping[str, Json]) -> str:
    """Scores whose correlation leaves 0 out on every kind of text, with the same sign."""
    asked = [name for name in next(iter(kinds.values()))["told"] if _mean_size(kinds, name) >= 0]
    sure = [name for name in asked if abs(sum(_side(own["told"].get(name)) for own in kinds.values())) == len(kinds)]
    if not sure:
        return f"None of {len(asked)} scores has a correlation that leaves 0 out on every kind of text."
    best = max(sure, key=lambda name: _mean_size(kinds, name))
    each = ", ".join(f"{own['told'][best][0]:+.2f} on {kind}" for kind, own in kinds.items())
    ceilings = ", ".join(f"{math.sqrt(own['reliability']):.2f}" for own in kinds.values())
    return (
        f"Of {len(asked)} scores {len(sure)} have a correlation that leaves 0 out on every kind of text, with one sign; "
        f"the largest is that of **{best}**: {each}, where the noise allows {ceilings}."
    )


def _side(told: list[float] | None) -> int:
    if told is None or not _known(told):
        return 0
    return int(told[1] > 0) - int(told[2] < 0)


def _clusters(groups: list[list[str]]) -> str:
    together = [f"- {', '.join(names)}" for names in groups if len(names) > 1]
    alone = [names[0] for names in groups if len(names) == 1]
    return "\n".join([*together, *([f"- each alone: {', '.join(alone)}"] if alone else [])])


def _refused(refused: Json) -> str:
    return "\n".join(f"Not asked: {', '.join(names)}. {reason}" for reason, names in refused.items())
