"""The grading with a score that takes no forward: it says what it was given."""

import pytest


@pytest.fixture
def measure(monkeypatch):
    """The module with a score that takes no forward: it says how many rows of which rates it was given, and the plan."""
    from grading import measure

    monkeypatch.setattr(measure, "sheet", lambda model, items, each=16: ("sheet of", model, items, each))
    monkeypatch.setattr(measure, "only", lambda given, names: ("only", names, given))
    monkeypatch.setattr(measure, "expected", lambda split: f"expected {split}")
    monkeypatch.setattr(measure, "score", lambda model, given, plan: {"given": given, "by": str(plan)})
    return measure
