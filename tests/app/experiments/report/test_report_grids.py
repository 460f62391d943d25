"""A claim's grid, mark by mark: the metric over the number of experts or the strength of a plan."""

from typing import Any

import pytest
from workbench_app.experiments.report.facts import Grid, Measured
from workbench_app.experiments.report.figures import claim_figure

from tests.app.experiments.report.drawn_marks import NAN, at, facts, marks, plain


def point(name: str, steered: float, *draws: float, base: float = 0.5, low: float = -0.1, high: float = 0.1) -> Any:
    plan = Measured("", f"plan {name}", base, steered, steered - base, low, high)
    return name, plan, tuple(Measured("", "off L0E0", base, d, d - base, NAN, NAN) for d in draws)


GRID = Grid("experts", (point("1", 0.4, 0.55, NAN), point("2", 0.3), point("4", 0.2, 0.45, low=-0.7, high=0.8)), 1)


def grid_drawn() -> tuple[str, Any, Any]:
    """The second panel of a claim with a grid, and its scales.

    The drawing above is 188 high, the panel 225 and begins 18 below: x from 14 + 44 to 14 + 820 - 30, y from 206 + 26 to 383.
    """
    svg = plain(claim_figure(facts(grids=(GRID,))))
    assert svg.startswith('<svg viewBox="0 0 820 431" ')
    x, y = at(-0.5, 2.7, 58, 804), at(0, 1, 383, 232)
    return svg[svg.index(f'x1="58.0" y1="{y(0)}"') - 6 :], x, y


def test_a_grid_is_the_metric_over_the_number_of_experts() -> None:
    drawn, x, y = grid_drawn()
    shares = (0, 20, 40, 60, 80, 100)
    assert marks(drawn, "grid") == [("grid", "58.0", y(t / 100), "804.0", y(t / 100)) for t in shares]
    named = [("tick", "51.0", f"{float(y(t / 100)) + 4:.1f}", f"{t}") for t in shares]
    assert [m for m in marks(drawn, "tick") if m[1] == "51.0"] == named
    assert marks(drawn, "base", "tiny") == [
        ("base", "58.0", y(0.5), "804.0", y(0.5)),
        ("tiny", "804.0", f"{float(y(0.5)) - 5:.1f}", "without the plan"),
    ]
    assert marks(drawn, "plan-line") == [
        ("plan-line", *(f(v) for i, s in enumerate((0.4, 0.3, 0.2)) for f, v in ((x, i), (y, s))))
    ]
    assert marks(drawn, "plan") == [
        ("plan", x(i), y(s), "5.0", f"plan {n}: 50 % to {100 * s:.0f} %")
        for i, (n, s) in enumerate((("1", 0.4), ("2", 0.3), ("4", 0.2)))
    ]
    assert marks(drawn, "label") == [
        ("label", "18.0", "218.0", "refusals, %"),
        ("label", x(1), "400.0", "2"),
        ("label", "431.0", "419.0", "experts"),
    ]
    assert [m for m in marks(drawn, "tick") if m[1] != "51.0"] == [
        ("tick", x(0), "400.0", "1"),
        ("tick", x(2), "400.0", "4"),
    ]
    assert 'text-anchor="end" class="tick">100' in drawn
    assert 'text-anchor="middle" class="label">experts' in drawn


def test_a_grid_has_the_interval_and_the_draws_of_every_number() -> None:
    drawn, x, y = grid_drawn()
    # the whisker is the base with the interval of the change, cut where a share ends
    ends = ((0.4, 0.6), (0.4, 0.6), (0.0, 1.0))
    assert marks(drawn, "whisker") == [("whisker", x(i), y(a), x(i), y(b)) for i, (a, b) in enumerate(ends)]
    # diamonds stand 14 to the right of their plan
    found = [(m[1], m[2], m[-1]) for m in marks(drawn, "random")]
    tops = [
        (float(x(i)) + 14, float(y(d)) - 3, f"off L0E0: 50 % to {100 * d:.0f} %") for i, d in ((0, 0.55), (2, 0.45))
    ]
    assert [(float(a), float(b), tip) for a, b, tip in found] == [
        (pytest.approx(a, abs=0.11), pytest.approx(b), t) for a, b, t in tops
    ]


def test_where_every_number_has_two_draws_or_more_a_band_goes_from_the_lowest_to_the_highest() -> None:
    grid = Grid("experts", (point("1", 0.4, 0.55, 0.35, 0.45), point("2", 0.3, 0.5, NAN, 0.2)), 0)
    svg = plain(claim_figure(facts(grids=(grid,))))
    x, y = at(-0.5, 1.7, 58, 804), at(0, 1, 383, 232)
    right = [f"{float(x(i)) + 14:.1f}" for i in (0, 1)]  # where the diamonds stand
    corners = [(right[0], y(0.35)), (right[1], y(0.2)), (right[1], y(0.5)), (right[0], y(0.55))]
    (found,) = marks(svg, "band")
    assert [float(v) for v in found[1:]] == pytest.approx([float(v) for corner in corners for v in corner], abs=0.11)
    assert marks(grid_drawn()[0], "band") == []  # one draw, and none


def test_two_grids_stand_side_by_side_and_a_third_is_not_drawn() -> None:
    strength = Grid(
        "strength of scale", tuple(point(n, 0.3) for n in ("2", "8", "16", "32", "64", "128", "256", "512")), 0
    )
    svg = claim_figure(facts(grids=(GRID, strength, GRID)))
    assert svg.startswith('<svg viewBox="0 0 820 431" ')
    axes = [m for m in marks(svg, "label") if m[2] == "419.0"]
    assert axes == [
        ("label", "226.0", "419.0", "experts"),
        ("label", "636.0", "419.0", "strength of scale"),
    ]  # 58 to 394, 468 to 804
    lines = [m[1:4:2] for m in marks(svg, "base")]
    assert lines == [("58.0", "394.0"), ("468.0", "804.0")]
    x = at(-0.5, 7.7, 468, 804)
    assert marks(svg, "plan-line")[1][1::2] == tuple(x(i) for i in range(8))


def test_the_line_without_the_plan_is_that_of_the_first_point() -> None:
    grid = Grid("experts", (point("1", 0.4, base=0.5), point("2", 0.3, base=0.75)), 0)
    assert marks(claim_figure(facts(grids=(grid,))), "base")[0][2] == at(0, 1, 383, 232)(0.5)


def test_diamonds_keep_to_a_quarter_of_a_narrow_step() -> None:
    names = [str(n) for n in range(12)]
    grid = Grid("experts", tuple(point(n, 0.3, 0.4) for n in names), 0)
    svg = claim_figure(facts(grids=(grid, grid)))
    step = (394 - 58) / 12.2
    first = marks(svg[svg.index("without the plan") :], "random")[0]
    assert float(first[1]) == pytest.approx(58 + 0.5 * step + step / 4, abs=0.06)


def test_what_is_no_share_has_an_axis_around_what_there_is() -> None:
    grid = Grid(
        "experts",
        (point("1", 14.0, 20.0, base=10.0, low=2.0, high=6.0), point("2", 12.0, base=10.0, low=NAN, high=NAN)),
        0,
    )
    svg = claim_figure(facts("length", grids=(grid,)))
    # from 10 (the base) to 20 (a draw), and 8 % of 10 on both sides
    y = at(9.2, 20.8, 383, 232)
    drawn = svg[svg.index('x1="58.0"') - 6 :]
    assert [m[2] for m in marks(drawn, "grid")] == [y(t) for t in (10, 12, 14, 16, 18, 20)]
    assert marks(drawn, "whisker") == [("whisker", at(-0.5, 1.7, 58, 804)(0), y(12), at(-0.5, 1.7, 58, 804)(0), y(16))]
    assert ("label", "18.0", "218.0", "length of the answer, characters") in marks(drawn, "label")
    wide = (point("1", 14.0, base=10.0, low=-3.0, high=6.0), point("2", 10.0, base=10.0, low=-2.0, high=9.0))
    spread = claim_figure(facts("length", grids=(Grid("experts", wide, 0),)))
    y = at(7 - 0.96, 19 + 0.96, 383, 232)  # 10 - 3 to 10 + 9
    assert marks(spread, "base")[0][2] == y(10)
    flat = Grid(
        "experts", (point("1", 10.0, base=10.0, low=NAN, high=NAN), point("2", 10.0, base=10.0, low=NAN, high=NAN)), 0
    )
    svg = claim_figure(facts("length", grids=(flat,)))
    assert marks(svg, "base")[0][2] == at(9, 11, 383, 232)(10)
    assert [m[3] for m in marks(svg, "tick") if m[1] == "51.0"] == ["9", "9.5", "10", "10.5", "11"]
