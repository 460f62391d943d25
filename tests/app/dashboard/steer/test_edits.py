"""Edits of a click: what they make of the plan, and the plan as a command."""

from types import SimpleNamespace

import numpy as np
import pytest
from workbench_app.dashboard.steer import edits
from workbench_app.dashboard.steer.edits import Tool

from tests.app.world import SHAPE
from workbench import ExpertRef, Plan, WorkbenchError


def test_a_click_that_replaces_needs_outputs_and_takes_their_mean():
    with pytest.raises(
        WorkbenchError, match="replace needs a store with outputs of these experts; capture one with keep=outputs"
    ):
        Tool("replace").plan([ExpertRef(0, 1)], None)
    means = SimpleNamespace(mean_output=lambda ref: np.array([1.0, 2.0 + ref.expert]).tolist())
    found = Tool("replace", phase="prompt").plan([ExpertRef(0, 1)], means)
    assert (found.edits[0].kind, list(found.edits[0].value), found.edits[0].scope.phase) == (
        "replace",
        [1.0, 3.0],
        "prompt",
    )
    assert str(Tool("bias", 3.0, "generated").plan([ExpertRef(0, 1)], None)) == "bias L0E1=3 in generated"
    assert str(Tool("scale").plan([ExpertRef(0, 1)], None)) == "scale L0E1=1"


def edits_of(plan):
    return {str(edit) for edit in plan.edits}


def test_a_click_takes_away_what_all_have_and_switches_the_others():
    a, b, off = ExpertRef(0, 1), ExpertRef(1, 2), Tool("off")
    both = edits.toggled(Plan.parse("mute L0E1"), [a, b], off, SHAPE, None)
    assert edits_of(both) == {"mute L0E1", "off L0E1", "off L1E2"}
    assert edits_of(edits.toggled(both, [a, b], off, SHAPE, None)) == {"mute L0E1"}
    assert edits_of(edits.toggled(both, [b], off, SHAPE, None)) == {"mute L0E1", "off L0E1"}
    assert edits_of(edits.toggled(both, [a], Tool("force"), SHAPE, None)) == {"mute L0E1", "off L1E2", "force L0E1"}
    forced = Plan.parse("force L0E1; scale L0E1=2")
    assert edits_of(edits.toggled(forced, [a], off, SHAPE, None)) == {"scale L0E1=2", "off L0E1"}
    assert edits_of(edits.toggled(forced, [a], Tool("scale", 3.0), SHAPE, None)) == {"force L0E1"}
    assert both.fingerprint == SHAPE.fingerprint
    assert edits.without(both, both.edits[:1]).fingerprint == SHAPE.fingerprint


def test_a_plan_is_a_command_where_every_edit_has_an_option():
    scoped = Plan.parse("off L0E1 in prompt")
    everywhere = Plan.parse("off L0E1,L1E2; scale L0E3=0.5")
    assert (
        edits.as_command(everywhere, "m", "") == "workbench steer m --prompt ... --off L0E1 --scale L0E3=0.5 --off L1E2"
    )
    assert edits.as_command(scoped, "m", "a b", raw=True) == "workbench steer m --prompt 'a b' --raw --plan plan.json"
    replaced = Plan.replace([ExpertRef(0, 1)], "mean")
    assert edits.as_command(replaced, "m", "q") == "workbench steer m --prompt q --plan plan.json"
