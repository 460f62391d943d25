"""A claim's figure, mark by mark: where each stands is worked out here from the numbers, in this test's own arithmetic."""

import math
import re
from typing import Any

import pytest
from workbench_app.experiments.recipe import Claim
from workbench_app.experiments.recipe.sections import PaperNumber
from workbench_app.experiments.report.facts import ClaimFacts, Draws, Grid, Measured
from workbench_app.experiments.report.figures import claim_figure
from workbench_app.reports import round_values, standalone

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


# every measured value lies in -0.4 .. 0.1; with 6 % of 0.5 on both sides the axis is -0.43 .. 0.13
X = at(-0.43, 0.13)


def test_the_axis_is_what_was_measured_with_a_little_room() -> None:
    svg = claim_figure(facts())
    # rows: plan, two kinds of draws, other end; 34 above, 27 each, 46 below
    assert svg.startswith('<svg viewBox="0 0 820 188" role="img" aria-label="Refusals fall: appears on some/model">')
    ticks = (-40, -30, -20, -10, 0, 10)
    assert marks(svg, "grid") == [("grid", X(t / 100), "34.0", X(t / 100), "144.0") for t in ticks]
    named = [m for m in marks(svg, "tick") if m[2] == "159.0"]
    assert named == [("tick", X(t / 100), "159.0", str(t).replace("-", "−")) for t in ticks]
    assert marks(svg, "zero") == [("zero", X(0), "30.0", X(0), "144.0")]
    assert ("label", "444.0", "182.0", "change of refusals, points") in marks(
        svg, "label"
    )  # 258 to 630: the middle is 444


def test_each_row_stands_at_its_numbers() -> None:
    svg = plain(claim_figure(facts()))
    # rows at 34 + 27 (i + 1/2): 47.5, 74.5, 101.5, 128.5
    assert marks(svg, "whisker", "whisker thick") == [
        ("whisker thick", X(-0.4), "47.5", X(-0.2), "47.5"),
        ("whisker", X(0.04), "128.5", X(0.1), "128.5"),
    ]
    assert marks(svg, "plan", "hollow") == [
        ("plan", X(-0.3), "47.5", "6.0", "off L1E1: 50 % to 20 %"),
        ("hollow", X(0.1), "128.5", "5.0", "off L9E9: 50 % to 60 %"),
    ]

    def diamond(v: float, y: float, tip: str) -> Mark:
        x = 258 + (v + 0.43) * 372 / 0.56
        corners = ((x, y - 4), (x + 4, y), (x, y + 4), (x - 4, y))
        return ("random", *(f"{n:.1f}" for corner in corners for n in corner), tip)

    assert marks(svg, "random") == [
        diamond(0.05, 74.5, "off L0E0: 50 % to 55 %"),
        diamond(-0.05, 74.5, "off L0E1: 50 % to 45 %"),
        diamond(0.0, 101.5, "off L0E2: 50 % to 50 %"),
    ]
    assert [m for m in marks(svg, "label") if m[2] != "182.0"] == [
        ("label", "244.0", "51.5", "the plan"),
        ("label", "642.0", "51.5", "−30 [−40, −20]"),
    ]
    assert [m for m in marks(svg, "tick") if m[2] != "159.0"] == [
        ("tick", "244.0", "78.5", "random, same number (3)"),
        ("tick", "642.0", "78.5", "−5 to +5"),
        ("tick", "244.0", "105.5", "random, used as often (1)"),
        ("tick", "642.0", "105.5", "0 to 0"),
        ("tick", "244.0", "132.5", "other end of the ranking"),
        ("tick", "642.0", "132.5", "+10 [+4, +10]"),
    ]
    assert 'text-anchor="end" class="label">the plan' in svg
    assert 'text-anchor="start" class="label">−30' in svg
    assert 'text-anchor="middle" class="tick">−40' in svg


def test_draws_without_a_value_are_not_drawn_and_do_not_stand_in_the_range() -> None:
    svg = claim_figure(facts(draws=(Draws("random, same layers", (measured(NAN), measured(NAN))),)))
    assert not marks(svg, "random")
    assert ("tick", "642.0", "78.5", "–") in marks(svg, "tick")


def test_what_the_claim_asks_for_is_dotted() -> None:
    down = claim_figure(facts())
    assert marks(down, "asked", "tiny") == [
        ("asked", X(-0.1), "30.0", X(-0.1), "144.0"),
        ("tiny", X(-0.1), "24.0", "asked for"),
    ]
    up = claim_figure(facts(direction="up"))
    assert marks(up, "asked") == [("asked", X(0.1), "30.0", X(0.1), "144.0")]
    stays = claim_figure(facts(direction="none"))
    assert marks(stays, "asked", "tiny") == [
        *(("asked", X(v), "30.0", X(v), "144.0") for v in (-0.05, 0.05)),
        ("tiny", X(0.0), "24.0", "nothing changed between these"),
    ]


@pytest.mark.parametrize(("asked", "shown"), [(1.0, True), (1.001, False)])
def test_what_is_asked_for_far_beyond_anything_measured_is_left_out(asked: float, shown: bool) -> None:
    """2.5 times the plan's largest, 0.4, is 1.0."""
    svg = claim_figure(facts(at_least=asked))
    assert len(marks(svg, "asked")) == shown
    assert marks(svg, "zero")[0][1] == (at(-1 - 0.066, 0.1 + 0.066) if shown else X)(0.0)
    assert not marks(claim_figure(facts(plan=None, at_least=asked)), "asked")
    assert not marks(claim_figure(facts(at_least=None)), "asked")


@pytest.mark.parametrize(("paper", "is_far"), [(-0.6, False), (-1.0, False), (-1.01, True), (1.01, True)])
def test_the_papers_change_is_a_square_or_an_arrow_at_the_edge(paper: float, is_far: bool) -> None:
    number = PaperNumber(what="what they count", model="R1", difference=paper, grade="text")
    svg = plain(claim_figure(facts(paper=number, paper_change=paper)))
    low, high = (-0.43, 0.13) if is_far else (paper - 0.06 * (0.1 - paper), 0.1 + 0.06 * (0.1 - paper))
    y = 34 + 27 * 4.5
    if not is_far:
        x = float(at(low, high)(paper))
        (mark,) = marks(svg, "paper")
        assert mark[0::5] == ("paper", "what they count")
        assert [float(n) for n in mark[1:5]] == pytest.approx([x - 5, y - 5, 10, 10], abs=0.11)
    elif paper < 0:  # points left, its square 18 inside of the edge
        assert marks(svg, "paper") == [
            ("paper", f"{258 + 18 - 5:.1f}", f"{y - 5:.1f}", "10.0", "10.0", "what they count")
        ]
        assert marks(svg, "paper-line") == [
            ("paper-line", "267.0", f"{y - 6:.1f}", "258.0", f"{y:.1f}", "267.0", f"{y + 6:.1f}")
        ]
    else:
        assert marks(svg, "paper") == [
            ("paper", f"{630 - 18 - 5:.1f}", f"{y - 5:.1f}", "10.0", "10.0", "what they count")
        ]
        assert marks(svg, "paper-line") == [
            ("paper-line", "621.0", f"{y - 6:.1f}", "630.0", f"{y:.1f}", "621.0", f"{y + 6:.1f}")
        ]
    said = f"{100 * paper:+g}".replace("-", "−")
    assert ("tick", "244.0", f"{y + 4:.1f}", "paper, R1") in marks(svg, "tick")
    assert ("tick", "642.0", f"{y + 4:.1f}", f"{said} (text)") in marks(svg, "tick")


def test_a_paper_without_model_and_grade() -> None:
    svg = claim_figure(facts(paper=PaperNumber(what="w", difference=-0.2), paper_change=-0.2))
    assert ">paper, its model<" in svg
    assert [m[3] for m in marks(svg, "tick") if m[1:3] == ("642.0", "159.5")] == ["−20"]
    assert 'height="10.0" class="paper"><title>w</title>' in svg


def test_a_paper_that_saw_nothing_stands_at_0_and_a_small_one_may_be_far() -> None:
    svg = claim_figure(facts(paper=PaperNumber(what="w", difference=0.0), paper_change=0.0))
    assert marks(svg, "paper")[0][1] == f"{float(X(0)) - 5:.1f}"
    little = facts(plan=measured(-0.1, -0.1, -0.1), draws=(), bottom=None, at_least=None)
    paper = PaperNumber(what="w", difference=0.5)
    far = claim_figure(little._replace(claim=facts(paper=paper).claim, paper_change=0.5))
    assert marks(far, "paper-line")[0][3] == "630.0"  # at the right edge


def test_a_long_label_is_cut_and_one_that_fits_is_whole() -> None:
    for words, shown in (
        ("d" * 34, f"{'d' * 34} (1)"),
        ("d" * 35, f"{'d' * 35} (…"),
    ):  # 38 characters fit; here 38 and 39
        svg = claim_figure(facts(draws=(Draws(words, (measured(0.0),)),)))
        assert f">{shown}</text>" in svg


@pytest.mark.parametrize(("metric", "room"), [("refused", 0.05), ("length", 1.0)])
def test_where_nothing_moved_there_is_room_still(metric: str, room: float) -> None:
    svg = claim_figure(facts(metric, plan=measured(0.0), draws=(), bottom=None, at_least=None))
    x, unit = at(-room, room), 100 if metric == "refused" else 1
    assert marks(svg, "zero")[0][1] == x(0.0)
    shown = (-4, -2, 0, 2, 4) if unit == 100 else (-1, -0.5, 0, 0.5, 1)
    assert [m[1] for m in marks(svg, "grid")] == [x(t / unit) for t in shown]
    assert [m[3] for m in marks(svg, "tick") if m[2] == "78.0"] == [f"{t:g}".replace("-", "−") for t in shown]
    assert not marks(svg, "whisker thick")


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (0, 10, [0, 2, 4, 6, 8, 10]),
        (-43, 13, [-40, -30, -20, -10, 0, 10]),
        (0, 3, [0, 0.5, 1, 1.5, 2, 2.5, 3]),
        (0.05, 0.45, [0.1, 0.2, 0.3, 0.4]),
        (0, 0.9, [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]),
        (150, 190, [150, 160, 170, 180, 190]),
        (3, 3, [3.0]),
    ],
)
def test_ticks_are_round(low: float, high: float, ticks: list[float]) -> None:
    assert round_values(low, high) == ticks


# ---- the grid below


def point(name: str, steered: float, *draws: float, base: float = 0.5, low: float = -0.1, high: float = 0.1) -> Any:
    plan = Measured("", f"plan {name}", base, steered, steered - base, low, high)
    return name, plan, tuple(Measured("", "off L0E0", base, d, d - base, NAN, NAN) for d in draws)


GRID = Grid("experts", (point("1", 0.4, 0.55, NAN), point("2", 0.3), point("4", 0.2, 0.45, low=-0.7, high=0.8)), 1)


def test_a_grid_is_the_metric_over_the_number_of_experts() -> None:
    svg = plain(claim_figure(facts(grids=(GRID,))))
    # the drawing above is 188 high, the panel 225 and begins 18 below: x from 14 + 44 to 14 + 820 - 30, y from 206 + 26 to 383
    assert svg.startswith('<svg viewBox="0 0 820 431" ')
    x, y = at(-0.5, 2.7, 58, 804), at(0, 1, 383, 232)
    drawn = svg[svg.index(f'x1="58.0" y1="{y(0)}"') - 6 :]
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


def test_a_drawing_of_its_own_has_its_colours_with_it() -> None:
    alone = standalone(claim_figure(facts()))
    assert alone.startswith('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 820 188" ')
    assert alone.count("xmlns=") == alone.count("<style>") == 1
    assert (
        alone.index("some/model")
        < alone.index("<style>svg { font-family")
        < alone.index("prefers-color-scheme")
        < alone.index("<line")
    )
    assert alone.endswith("</svg>")
