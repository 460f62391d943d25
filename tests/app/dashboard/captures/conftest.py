"""A list of captures that belongs to one test."""

import pytest
from workbench_app.dashboard.captures import capture_form, jobs, jobs_panel, stores_panel
from workbench_app.dashboard.captures.jobs import Jobs


@pytest.fixture
def listed(monkeypatch):
    """A list of captures of its own."""
    found = Jobs()
    for module in (jobs, jobs_panel, capture_form, stores_panel):
        monkeypatch.setattr(module, "jobs", lambda: found)
    return found
