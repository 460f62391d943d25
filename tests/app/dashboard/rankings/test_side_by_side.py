"""All rankings side by side on the page Probes: drawn when asked for, as the library sets them."""

import numpy as np
import pandas as pd
import pytest
from workbench_app.dashboard.questions import offer
from workbench_app.dashboard.rankings import side_by_side as page

from probes.agreement import agreement
from tests.app.paper import write_on
from tests.app.world import view_of


def shown(tmp_path, store, monkeypatch, **answers):
    """The lines on the page, and what was drawn as a chart: its figure and its rows."""
    paper, charts = write_on(monkeypatch, answers), []
    monkeypatch.setattr(page, "chart", lambda figure, key, data: charts.append((figure, data)))
    page.side_by_side(view_of(tmp_path, store), offer(store.path))
    return "\n".join(paper.lines), charts


def test_nothing_is_asked_before_it_is_wanted(tmp_path, store, monkeypatch):
    monkeypatch.setattr(page, "store_at", lambda *_: 1 / 0)
    lines, charts = shown(tmp_path, store, monkeypatch)
    assert "toggle 'Rank in every way' False" in lines
    assert not charts


@pytest.mark.parametrize("target", [None, "odd=yes"])
def test_the_matrix_the_clusters_and_the_refusals_are_the_library_s(tmp_path, store, monkeypatch, target):
    answers = {"all-run": True} | ({"all-target": target} if target else {})
    lines, charts = shown(tmp_path, store, monkeypatch, **answers)
    found = agreement(store, target)
    ((figure, rows),) = charts
    (drawn,) = figure.data
    assert [*drawn.x] == [*drawn.y] == list(found.matrix)
    assert figure.layout.yaxis.dtick == figure.layout.xaxis.dtick == 1  # every name is shown
    assert ("ftri" in drawn.x) == (target is not None)
    np.testing.assert_allclose(np.array(drawn.z, float), found.matrix.to_numpy(), equal_nan=True)
    pd.testing.assert_frame_equal(rows, found.pairs)
    for group in found.clusters:
        assert ", ".join(group) in lines
    assert all(f"not asked: {', '.join(names)}: " in lines for names in found.refused.values())
