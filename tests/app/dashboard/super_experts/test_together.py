"""The panel that mutes super experts together, alone and at random: each arm as it comes, the chart, and what is said of it."""

import pandas as pd
import pytest
from workbench_app.dashboard.super_experts import together_panel

from probes import MassiveRule
from tests.app.paper import write_on
from tests.app.world import SHAPE, view_of
from workbench import ExpertRef, Plan
from workbench.comparison import Part

NAN = float("nan")
PARTS = [
    Part("bare", "", 2.5, 0.0, 0.0, 0),
    Part("together", "mute L0E1; mute L1E0", 5.5, 3.0, 0.75, 9),
    Part("alone", "mute L0E1", 3.0, 0.5, 0.25, 5),
    Part("alone", "mute L1E0", 2.75, 0.25, NAN, 4),
    Part("random, same layers", "mute L0E2; mute L1E3", 2.5, 0.0, -0.125, 6),
    Part("random, any layers", "mute L0E3; mute L1E2", 2.375, -0.125, 0.0, 6),
]
REFS = [ExpertRef(0, 1), ExpertRef(1, 0)]


def test_each_arm_is_shown_as_it_comes_and_the_chart_at_the_end(tmp_path, store, monkeypatch):
    paper, view, asked = (
        write_on(monkeypatch, {"together-run": True, "together-controls": 2}),
        view_of(tmp_path, store),
        [],
    )

    def measured(model, given, plan, controls):
        asked.append((given, plan, controls, view.machine.turns.waiting))
        yield from PARTS

    monkeypatch.setattr(together_panel, "each_part", measured)
    together_panel.together_panel(view, REFS, 2)
    ((given, plan, controls, waiting),) = asked
    assert [(text.before, text.read) for text in given] == [((0,), (7,)), ((0,), (7,))]
    assert (plan, controls, waiting) == (Plan.mute(REFS), 2, 1)
    assert view.machine.turns.waiting == 0
    live = [line for line in paper.lines if line.startswith("empty| dataframe")]
    assert len(live) == len(PARTS)
    assert "arm: ['bare', 'together']" in live[1]
    said = [line for line in paper.lines if "progress" in line and "nats" in line]
    assert said[1] == "progress| progress 0.333333 'together: +3.000 nats a token'"
    assert said[-1].startswith("progress| progress 1 ")
    assert paper.lines[-1] == "text 'Together +3.000 nats a token; alone at most +0.500; random at most +0.000.'"
    paper.answers["together-run"] = False
    together_panel.together_panel(view, REFS, 1)
    assert paper.lines[-1].startswith("text 'Not measured yet")  # of another number of prompts
    assert SHAPE.fingerprint == view.anatomy.fingerprint


def test_every_arm_is_a_bar_with_its_decay() -> None:
    figure = together_panel.together_figure(pd.DataFrame(PARTS))
    (bars,) = figure.data
    assert list(bars.x) == [0.0, 3.0, 0.5, 0.25, 0.0, -0.125]
    assert len(set(bars.y)) == 6
    assert bars.y[1] == "together: mute L0E1; mute L1E0"
    assert bars.text[1:4] == ("sinks decay by 75%", "sinks decay by 25%", "")
    assert len(set(bars.marker.color)) == 3
    assert together_panel.said(pd.DataFrame(PARTS[:2])) == "Together +3.000 nats a token."


@pytest.mark.parametrize(("key", "value"), [("massive-absolute", 7.0), ("massive-ratio", 3.0), ("massive-growth", 2.0)])
def test_the_thresholds_of_the_form_are_those_of_the_rule(monkeypatch, key, value):
    from workbench_app.dashboard.super_experts import page

    paper = write_on(monkeypatch)
    assert page.massive_rule() == MassiveRule()
    paper.answers |= {key: value, "massive-against": "own"}
    assert page.massive_rule() == MassiveRule(**{key.removeprefix("massive-"): value, "against": "own"})
