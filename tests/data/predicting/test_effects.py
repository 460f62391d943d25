"""The effects of single experts: each rate with one expert off, less what it is with none."""

from types import SimpleNamespace

from predicting import effects

from workbench import ExpertRef


def test_each_expert_is_off_alone_and_its_change_is_in_points(monkeypatch):
    rates = {"nothing": 80.0, "off L0E1": 75.0, "off L1E0": 82.5}
    monkeypatch.setattr(effects, "score", lambda model, given, plan: {"refused": rates[str(plan)]})
    anatomy = SimpleNamespace(refs=lambda: (ExpertRef(0, 1), ExpertRef(1, 0)))
    found = effects.single_effects(SimpleNamespace(anatomy=anatomy), None)
    assert found.to_dict("records") == [
        {"layer": 0, "expert": 1, "refused": -5.0},
        {"layer": 1, "expert": 0, "refused": 2.5},
    ]
