"""A report's drawings beside the claims' figures, mark by mark: where each stands is worked out here from the numbers."""

import math
import re
from typing import Any

import pytest
from workbench_app.experiments.report.drawings import checks_chart, expert_map, largest_outputs, ranking_bars
from workbench_app.experiments.report.headline import Check

from tests.app.paper import assert_drawn

NAN = math.nan


def row(layer: int, expert: int, score: float, **more: Any) -> dict[str, Any]:
    """A row of the table `scores`."""
    empty = {"n": 0, "low": NAN, "high": NAN, "p_adjusted": NAN, "flags": "", "is_shared": False}
    return {"layer": layer, "expert": expert, "score": score, **empty, **more}


ROWS = (
    row(1, 0, 0.5, n=3, low=0.25, high=0.75, p_adjusted=0.5),
    row(3, 1, -0.25, n=2, low=-0.5, high=-0.125, p_adjusted=0.001, flags="ties"),
    row(3, 0, NAN, flags="dead"),
    row(1, 1, 0.0, n=5, p_adjusted=0.0009),
)
EXTREMES = (
    row(1, 0, 100.0, flags="super expert; ties"),
    row(1, 1, 10.0, flags="ties"),
    row(4, 3, 1.0, flags="ties"),
    row(4, 0, 10.0, flags="ties", is_shared=True),
    row(2, 0, 0.0, flags="ties"),
    row(2, 1, NAN, flags="dead"),
)


def marks(svg: str | None) -> list[str]:
    """Size and label, then a line for each mark: what it is, where, its class, and its tip or words."""
    assert svg is not None
    head = re.match(r'<svg viewBox="0 0 (\S+) (\S+)" role="img" aria-label="(.*?)">', svg)
    assert head is not None
    found = re.findall(r"<(line|text|circle|polygon|polyline|rect) (.*?)(?:/>|>(?:(.*?)</\1>))", svg[head.end() :])
    lines = [
        " ".join([tag, *re.findall(r'="(.*?)"', at), *([repr(re.sub(r"</?title>", "", words))] if words else [])])
        for tag, at, words in found
    ]
    return [" ".join(head.groups()), *lines]


def test_every_share_is_drawn_before_and_after_beside_every_draw() -> None:
    checks = [
        Check("first", "", "held", "refused", "target", 8, 0.5, (0.9, 0.25), ((), (0.4, 0.6))),
        Check("second", "", "held", "exact", "capability", 8, 0.0, (0.1, 1.0), ((), ())),
    ]
    drawn = marks(checks_chart(checks, 1, "label"))
    assert drawn[0] == f"720 {14 + 2 * 26 + 42} label"

    def x(share: float) -> str:
        return f"{250 + share * (720 - 36 - 250):.1f}"

    def diamond(share: float, y: float) -> str:
        at = 250 + share * 434
        return f"polygon {at:.1f},{y - 3.5:.1f} {at + 3.5:.1f},{y:.1f} {at:.1f},{y + 3.5:.1f} {at - 3.5:.1f},{y:.1f}"

    assert [line for line in drawn if line.endswith(" grid")] == [
        f"line {x(v)} 14.0 {x(v)} 66.0 grid" for v in (0, 0.25, 0.5, 0.75, 1)
    ]
    assert [line.split(" ", 4)[-1] for line in drawn if " tick '" in line and "%" in line] == [
        f"tick '{v} %'" for v in (0, 25, 50, 75, 100)
    ]
    first, second = 14 + 13, 14 + 39
    assert drawn[12:] == [
        f"text 238.0 {first + 4:.1f} end tick 'first'",
        f"line {x(0.5)} {first:.1f} {x(0.25)} {first:.1f} plan-line",
        f"{diamond(0.4, first + 7)} random 'random: 40.0%'",
        f"{diamond(0.6, first + 7)} random 'random: 60.0%'",
        f"circle {x(0.5)} {first:.1f} 6.0 hollow 'first: 50.0% without the plan'",
        f"circle {x(0.25)} {first:.1f} 4.5 plan 'first: 25.0% with it'",
        f"text 238.0 {second + 4:.1f} end tick 'second'",
        f"line {x(0)} {second:.1f} {x(1)} {second:.1f} plan-line",
        f"circle {x(0)} {second:.1f} 6.0 hollow 'second: 0.0% without the plan'",
        f"circle {x(1)} {second:.1f} 4.5 plan 'second: 100.0% with it'",
    ]


def test_a_map_frames_what_was_tuned_and_dots_what_a_plan_edits() -> None:
    shared = ROWS[0] | {"expert": 9, "is_shared": True, "score": 9.0}
    tuned = {"refusal": ("L3E1", "L7E7"), "thinking": ("L1E1",)}
    assert_drawn("expert_map", "\n".join(marks(expert_map([*ROWS, shared], ("L1E0",), tuned, "unit", "label"))))
    assert expert_map([shared], (), {}, "unit", "label") is None


def test_a_map_of_many_experts_names_some_and_tells_few() -> None:
    rows = [row(0, e, 0.0, n=1) for e in range(40)]
    drawn = marks(expert_map(rows, (), {}, "unit", "label"))
    cell = (720 - 64 - 16) / 40
    named = re.findall(r"text (\S+) 16.0 middle tiny '(\d+)'", "\n".join(drawn))
    assert named == [(f"{64 + cell * (e + 0.5):.1f}", str(e)) for e in range(0, 40, 4)]
    assert drawn[-1].endswith("tick 'unit'")
    assert "\n".join(drawn).count("cell neg 0.000") == 40 + 1  # all zero, and the middle of the colour bar
    many = [row(layer, e, 1.0, n=1) for layer in range(33) for e in range(64)]
    drawn = marks(expert_map(many, ("L3E5",), {"refusal": ("L3E6",)}, "unit", "label"))
    told = [line for line in drawn if line.endswith("tokens'") or "tuned" in line]
    assert [re.findall(r"'(\w+):", line)[0] for line in told] == ["L3E5", "L3E6"]
    layers = [line.rpartition("layer ")[2] for line in drawn if "tick 'layer" in line]
    assert layers == [f"{layer}'" for layer in range(0, 33, 2)]  # rows of 10 pixels, words of 11


def test_bars_reach_from_zero_to_the_score_with_the_interval_across() -> None:
    drawn = marks(ranking_bars(ROWS, {"refusal": ("L3E1",)}, "unit", "label"))
    assert drawn[0] == f"720 {14 + 3 * 22 + 42} label"  # the one without a score is left out

    def x(value: float) -> float:
        return 74 + (value + 0.5) * (720 - 64 - 74) / 1.25  # from the least low to the largest high

    def bar(start: float, stop: float, y: int, kind: str, tip: str) -> str:
        return f"rect {x(start):.1f} {y + 4:.1f} {x(stop) - x(start):.1f} 14.0 {kind} '{tip}'"

    assert [line for line in drawn if line.startswith("rect") or line.endswith("whisker") or " tiny " in line] == [
        bar(0, 0.5, 14, "bar", "L1E0: 0.500"),
        f"line {x(0.25):.1f} 25.0 {x(0.75):.1f} 25.0 whisker",
        "text 664.0 29.0 start tiny 'p 0.500'",
        bar(-0.25, 0, 36, "bar tuned", "L3E1: -0.250; tuned in training: refusal"),
        f"line {x(-0.5):.1f} 47.0 {x(-0.125):.1f} 47.0 whisker",
        "text 664.0 51.0 start tiny 'p 0.001'",
        bar(0, 0, 58, "bar", "L1E1: 0.000"),
        "text 664.0 73.0 start tiny 'p &lt; 0.001'",
    ]
    ticks = [line for line in drawn if " middle tick " in line]
    assert [line.rpartition(" ")[2] for line in ticks] == [f"'{v}'" for v in ("−0.4", "−0.2", "0", "0.2", "0.4", "0.6")]
    assert drawn[-len(ticks) :] != ticks
    none = marks(ranking_bars([row(1, 1, 0.0)], {}, "unit", "label"))
    assert "rect 74.0 18.0 0.0 14.0 bar 'L1E1: 0.000'" in none


def test_largest_outputs_stand_on_a_log_axis_beside_the_residual_stream() -> None:
    stream = {-1: 5.0, 1: 1000.0, 4: 0.0, 2: 7.0, 3: math.inf}
    assert_drawn("largest_outputs", "\n".join(marks(largest_outputs(EXTREMES, stream, "label"))))
    drawn = marks(largest_outputs([row(0, 0, 10.0, flags="x")], {}, "label"))
    assert "circle 383.0 258.0 3.2 dot 'L0E0: 10.00; x'" in drawn
    assert [line for line in drawn if line.endswith("tick '10'")]
    assert largest_outputs(EXTREMES[4:], stream, "label") is None


@pytest.mark.parametrize(("n", "every"), [(12, 1), (13, 2), (48, 4)])
def test_of_many_layers_twelve_are_named(n: int, every: int) -> None:
    drawn = marks(largest_outputs([row(layer, 0, 1.0) for layer in range(n)], {}, "label"))
    named = [line.rpartition("layer ")[2] for line in drawn if "tick 'layer" in line]
    assert named == [f"{layer}'" for layer in range(0, n, every)]
