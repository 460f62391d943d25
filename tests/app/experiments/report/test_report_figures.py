"""A claim's figure, mark by mark: where each stands is worked out here from the numbers, in this test's own arithmetic."""

import pytest
from workbench_app.experiments.recipe.sections import PaperNumber
from workbench_app.experiments.report.facts import Draws
from workbench_app.experiments.report.figures import claim_figure
from workbench_app.reports import round_values as _ticks
from workbench_app.reports import standalone

from tests.app.experiments.report.drawn_marks import NAN, Mark, at, facts, marks, measured, plain

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
    assert _ticks(low, high) == ticks


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
