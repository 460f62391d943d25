"""A ranking becomes a plan."""

import pytest
from workbench_app.dashboard.rankings import ranking_plan

from tests.app.dashboard.rankings.made import FOUND, scores
from tests.app.paper import assert_drawn, drawn, write_on
from tests.app.world import SHAPE, view_of
from workbench import Plan


@pytest.mark.parametrize(
    ("answers", "chosen", "made"),
    [
        ({}, [], "off L0E1; off L1E2"),
        ({"rank-n": 1, "rank-edit": "scale"}, [], "scale L0E1=0.5"),
        ({"rank-n": 1, "rank-edit": "bias", "rank-bias": 3.0, "rank-whom": ranking_plan.LAST}, [], "bias L1E0=3"),
        ({"rank-whom": ranking_plan.SELECTED, "rank-edit": "mute"}, ["L1E3", "L0E0"], "mute L0E0; mute L1E3"),
        ({"rank-join": True, "rank-edit": "drop"}, [], "drop L0E1; force L0E2; drop L1E2"),
    ],
)
def test_a_ranking_becomes_a_plan(tmp_path, monkeypatch, answers, chosen, made):
    paper = write_on(monkeypatch, {"rank-make": True, **answers}, plan=Plan.parse("force L0E2"))
    ranking_plan.ranking_plan(view_of(tmp_path), FOUND, chosen)
    assert sorted(str(paper.session_state.plan).split("; ")) == sorted(made.split("; "))
    assert paper.session_state["rank-made"] == paper.session_state.plan
    assert paper.session_state.plan.fingerprint == SHAPE.fingerprint
    assert "success 'The plan is made; ask something under Steer.' icon=':material/check:'" in paper.lines
    assert paper.lines[-1] == f"text 'Plan: {paper.session_state.plan}'"


def test_the_form_of_a_plan(tmp_path, monkeypatch):
    paper = write_on(monkeypatch, plan=Plan())
    view = view_of(tmp_path)
    ranking_plan.ranking_plan(view, FOUND, [])
    paper.answers.update({"rank-edit": "scale", "rank-whom": ranking_plan.SELECTED})
    ranking_plan.ranking_plan(
        view, scores(FOUND.frame.iloc[:1, :7].to_numpy().tolist()), [f"L0E{i}" for i in range(21)]
    )
    paper.session_state.update({"rank-made": Plan.parse("off L0E1"), "plan": Plan.parse("off L0E2")})
    paper.answers["rank-whom"] = ranking_plan.LAST
    ranking_plan.ranking_plan(view, FOUND, [f"L0E{i}" for i in range(20)])
    assert_drawn("ranking_plan", drawn(paper))
