"""The page Super experts, drawn on paper: limits and guards, the residual stream, whom to mute, and sinks."""

import sys

import numpy as np
import pandas as pd
import pytest
from workbench_app.dashboard.super_experts import magnitudes, sinks_panel
from workbench_app.dashboard.super_experts import page as super_page

from probes.magnitudes import MassiveRule
from probes.outputs import Thresholds
from probes.ranking import ExpertScores
from tests.app.paper import assert_drawn, drawn, figure_said, write_on
from tests.app.world import SHAPE, view_of
from workbench import WorkbenchError
from workbench.comparison import SinkShare
from workbench.routing import DoseCounts


def scores(rows, **options):
    frame = pd.DataFrame(rows, columns=["layer", "expert", "score", "n", "flags", "is_shared"])
    return ExpertScores("super_experts", {"rule": "made", **options}, frame, ("note*",), "f00d")


FOUND = scores([(0, 1, 300.0, 4, "super expert", False), (2, 3, 20.0, 1000, "", False), (0, 0, 10.0, 3, "<b>", True),
                (2, 5, np.nan, 0, "dead", False)])  # fmt: skip


def test_the_whole_page_of_super_experts(tmp_path, store, monkeypatch):
    paper = write_on(monkeypatch)
    super_page.show(view_of(tmp_path, store))
    assert_drawn("super", drawn(paper).replace(str(tmp_path), ""))


def test_every_expert_is_drawn_at_its_layer_with_the_thresholds_and_the_guards(monkeypatch):
    paper = write_on(monkeypatch)
    found = Thresholds({"50 x mean": 123.456, "z": 7.0}, (0, 2), {0: 40.0, 2: 50.0})
    monkeypatch.setattr(sys.modules["probes.outputs"], "thresholds", lambda store, scores: found)
    magnitudes.magnitudes(None, FOUND)
    monkeypatch.setattr(sys.modules["probes.outputs"], "thresholds", lambda store, scores: Thresholds({}, (), {}))
    magnitudes.magnitudes(None, scores([(0, 1, 3.0, 4, "", False)]))
    assert_drawn("magnitudes", drawn(paper))


def test_the_residual_stream_is_drawn_layer_by_layer(store):
    frame = magnitudes.residual_by_layer(str(store.path), ())
    # of layer n, position i: largest 200 + i + n, median 0.25 + i / 8
    assert frame.to_numpy().tolist() == [[n, 201.0 + n, 0.3125] for n in (-1, 0, 1)]
    drawn = magnitudes.residual_figure(frame, MassiveRule(), (0, 1))
    assert_drawn("residual", figure_said(drawn))


def test_whom_to_mute_and_the_measurement_of_sinks(tmp_path, store, monkeypatch):
    paper = write_on(monkeypatch, {"sinks-run": False, "sinks-top": 2})
    view = view_of(tmp_path, store)
    sinks_panel.sinks_panel(view, FOUND)
    paper.lines.append("---- none is super: two of the largest, measured")
    plain = scores(
        [(0, 1, 300.0, 4, "", False), (1, 0, 20.0, 9, "", False), (1, 2, 10.0, 9, "", False), (1, 3, 0.0, 9, "", False)]
    )
    plain = ExpertScores("super_experts", plain.options, plain.frame, (), SHAPE.fingerprint)
    asked = []

    def measure(model, prompts, plan, step):
        step(0.5)
        asked.append((prompts, str(plan), plan.fingerprint, view.machine.turns.waiting))
        base, muted = (SinkShare((0, 1), np.array(share), 3) for share in ([[0.5], [0.25]], [[0.25], [0.0]]))
        return sinks_panel.Sinks(base, muted, DoseCounts(4, 2, 16, 3, 0), "mute \x07")

    monkeypatch.setattr(sinks_panel, "measured", measure)
    paper.answers["sinks-run"] = True
    sinks_panel.sinks_panel(view, plain)
    assert asked == [([[0, 7], [0, 7]], "mute L0E1; mute L1E0", SHAPE.fingerprint, 1)]
    assert view.machine.turns.waiting == 0
    paper.lines.append("---- nothing to mute; and what was measured for another choice is not shown")
    paper.answers["sinks-run"] = False
    sinks_panel.sinks_panel(view, scores([(0, 1, 0.0, 4, "", False)]))
    assert_drawn("sinks", drawn(paper))
    paper.lines.clear()
    sinks_panel.sinks_panel(view, plain)
    assert [p for p in paper.lines if p.startswith("text 'Mean over layers: 37.5% base, 12.5% muted.")]
    paper.answers["sinks-n"] = 1
    paper.lines.clear()
    sinks_panel.sinks_panel(view, plain)
    assert paper.lines[-1].startswith("text 'Not measured yet")


def test_the_prompts_of_a_store_are_cut_and_one_of_a_token_has_no_query(store, monkeypatch):
    assert sinks_panel.prompt_ids(store, 1) == [[0, 7]]
    monkeypatch.setattr(sinks_panel, "LONGEST", 1)
    with pytest.raises(WorkbenchError, match="has two tokens or more"):
        sinks_panel.prompt_ids(store, 2)
