"""Charts of rankings: the volcano, two probes side by side, what is selected in one, and its numbers."""

import pandas as pd
import pytest
from workbench_app.dashboard.rankings import two_probes, volcano
from workbench_app.dashboard.widgets import theme

from tests.app.dashboard.rankings.made import FOUND, NAN, OTHER, scores
from tests.app.paper import assert_drawn, drawn, figure_said, said, write_on


def test_the_volcano_draws_and_says_who_passes(monkeypatch):
    paper = write_on(monkeypatch)
    monkeypatch.setattr(volcano, "chart", lambda figure, *given: paper.lines.extend([said(given), figure_said(figure)]))
    volcano.volcano(FOUND, test_the_volcano_draws_and_says_who_passes)
    weak = scores([(0, 1, 0.5, 3, 0.04, 0.05, ""), (1, 0, 0.1, 2, 0.05, 0.5, "")])
    volcano.volcano(weak, print)
    volcano.volcano(scores([(0, 1, 0.5, 3, NAN, NAN, "")], notes=("a", "no p-value: \x07")), print)
    volcano.volcano(scores([(0, 1, NAN, 3, 0.5, 0.5, "")]), print)
    assert_drawn("volcano", drawn(paper))
    assert volcano.smallest_p(FOUND) == 0.001
    assert volcano.smallest_p(scores([], n_permutations=0)) is None


@pytest.mark.parametrize(
    ("method", "options", "unit"),
    [
        ("npmi", {}, "score, nPMI (association)"),
        ("ftri", {"reduce": "rate"}, "score, difference of selection rates (association)"),
        ("ftri", {"reduce": "weight_sum"}, "score, difference of routing weight a response (association)"),
        ("drift", {"what": "use"}, "score, difference of selection rates (association)"),
        ("usage", {"measure": "weight"}, "score, mean routing weight a token (association)"),
        ("of my own", {}, "score (association)"),
    ],
)
def test_the_axis_of_scores_names_their_unit(method, options, unit):
    found = scores([(0, 1, 0.5, 3, 0.04, 0.05, "")], method, **options)
    assert volcano.figure(found, found.frame.assign(name="L0E1")).layout.xaxis.title.text == unit


def test_two_probes_are_compared_over_the_experts_that_both_rank(monkeypatch):
    paper = write_on(monkeypatch)
    two_probes.two_probes(FOUND, OTHER)
    paper.answers["compare-ranks"] = True
    two_probes.two_probes(FOUND, OTHER)
    one = scores([(0, 1, 3.0, 1, 1.0, 1.0, ""), (1, 0, NAN, 1, 1.0, 1.0, "")])
    two_probes.two_probes(FOUND, one)
    assert_drawn("two_probes", drawn(paper))
    two_probes.two_probes(FOUND, scores([(0, 1, 3.0, 1, 1.0, 1.0, ""), (1, 0, 2.0, 1, 1.0, 1.0, "")]))
    assert "fewer than two" not in paper.lines[-1]


def test_overlaps_are_counted_at_the_sizes_that_fit():
    both = pd.DataFrame(
        {"name": list("abcdefghij"), "rank_first": range(1, 11), "rank_second": [2, 1, 4, 3, 10, 9, 8, 7, 6, 5]}
    )
    assert two_probes.overlap(both).to_numpy().tolist() == [
        [1, 0, 0.0, 0.1], [3, 2, pytest.approx(2 / 3), 0.9], [5, 4, 0.8, 2.5], [10, 10, 1.0, 10.0],
    ]  # fmt: skip


def test_what_is_selected_in_a_chart_is_named_once(monkeypatch):
    points = [
        {"customdata": ["L0E1", 3]},
        {"customdata": "L1E2"},
        {"customdata": ("L0E1",)},
        {"x": 1},
        {"customdata": []},
    ]
    write_on(monkeypatch, volcano={"selection": {"points": points}}, empty={})
    assert theme.selected("volcano") == ["L0E1", "L1E2"]
    assert theme.selected("empty") == theme.selected("missing") == []
    assert theme.text("<b>&\x07") == "\u2039b>\uff06\u2407"


def test_a_chart_offers_its_numbers(monkeypatch):
    import plotly.graph_objects as go

    paper = write_on(monkeypatch)
    data = pd.DataFrame({"a": [1, 2]})
    figure = theme.titled(go.Figure(), "<t>", 99, barmode="group")
    monkeypatch.setattr(
        paper, "plotly_chart", lambda f, **how: paper.lines.append(f"{figure_said(f)} {said(how)}"), raising=False
    )
    theme.chart(figure, "key", data)
    theme.chart(figure, "other", data, test_a_chart_offers_its_numbers)
    assert_drawn("chart", drawn(paper))
    assert theme.as_csv(data) == "a\n1\n2\n"
