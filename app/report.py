"""The demo's report: one HTML file that needs nothing else, every number out of `Findings`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from . import charts
from .checks import CHECKS, REFUSED, REVEALED, UNTOUCHED
from .findings import Arm, Effect, Example, Findings
from .terminal import plain

WITHIN = 0.05
"""A check counts as unchanged when it moves by at most 5 points."""


class Cell(NamedTuple):
    """One check under one plan, as the table shows it."""

    share: str
    random: str
    moved: bool


def write_report(found: Findings, path: Path) -> None:
    """Renders the report to `path`."""
    path.write_text(render(found), encoding="utf-8")


def render(found: Findings) -> str:
    """The report as HTML. Text from the model is escaped: it is shown, never interpreted."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("workbench_app.reports"),
        autoescape=True,
        undefined=StrictUndefined,
    )
    environment.filters.update(percent=percent, plain=plain)
    return environment.get_template("report.html").render(found=found, **_parts(found), **_charts(found))


def percent(share: float) -> str:
    """A share as a whole percentage, with one decimal where it is not whole."""
    return f"{100 * share:.1f}".removesuffix(".0") + "\u00a0%"


def _parts(found: Findings) -> dict[str, Any]:
    arm = found.arm
    return {
        "arm": arm,
        "refused": arm.effect(REFUSED),
        "revealed": arm.effect(REVEALED),
        "is_halved": arm.effect(REFUSED).steered <= arm.effect(REFUSED).base / 2,
        "held": [e for c in UNTOUCHED if not moved(e := arm.effect(c.name))],
        "moved": [e for c in UNTOUCHED if moved(e := arm.effect(c.name))],
        "same": {name: _share_same(pairs) for name, pairs in arm.examples.items()},
        "checks": [(c, [_cell(a.effect(c.name)) for a in found.arms], arm.effect(c.name).base) for c in CHECKS],
        "examples": examples(arm),
        "thinking_effects": [(c, found.thinking_arm.effect(c.name)) for c in CHECKS if c.prompts == "thinking"],
        "n_super": sum("super expert" in row["flags"].split("; ") for row in found.extremes.rows),
        "hits": [e for e in arm.experts if e in found.implanted.get("refusal", ())],
        "implanted_refusal": found.implanted.get("refusal", ()),
        "implanted_thinking": found.implanted.get("thinking", ()),
        "total_seconds": sum(found.seconds.values()),
    }


def moved(effect: Effect) -> bool:
    """Whether the check moved by more than 5 points."""
    return abs(effect.steered - effect.base) > WITHIN + 1e-9


def _share_same(pairs: Sequence[Example]) -> float:
    return sum(e.base == e.steered for e in pairs) / len(pairs)


def _cell(effect: Effect) -> Cell:
    return Cell(percent(effect.steered), ", ".join(f"{100 * r:.0f}" for r in effect.random), moved(effect))


_SHOWN = {"refusal_heldout": 6, "thinking": 3, "language": 2, "code_prose": 2, "faithfulness": 1}


def examples(arm: Arm) -> list[tuple[str, list[Example]]]:
    """The first few held-out prompts of each file in file order: chosen before anybody saw an answer."""
    return [(name, list(arm.examples[name][:n])) for name, n in _SHOWN.items()]


def _charts(found: Findings) -> dict[str, str]:
    from markupsafe import Markup

    refusal, thinking = found.implanted.get("refusal", ()), found.implanted.get("thinking", ())
    share = "share of tokens that select it, refused minus answered"
    drawn = {
        "chart_refused": charts.dose_response(found, REFUSED, "of held-out sensitive prompts"),
        "chart_revealed": charts.dose_response(found, REVEALED, "of held-out sensitive prompts"),
        "chart_checks": charts.checks(found.arm, [c.name for c in CHECKS]),
        "chart_map": charts.expert_map(found.refusal, found.n_layers, found.arm.experts, refusal, share),
        "chart_thinking": charts.bars(
            found.thinking, 10, thinking, "signed nPMI of <think> and </think> (range -2 to 2)"
        ),
        "chart_extremes": charts.extremes(found.extremes, found.residual),
    }
    return {name: Markup(svg) for name, svg in drawn.items()}
