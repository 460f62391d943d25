"""The choice is confirmed on the held-out split, beside medians of its draws."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

DATA = Path(__file__).resolve().parents[3] / "data"


def test_medians_are_of_the_draws_of_one_kind_and_metric():
    from grading.confirm import medians

    rows = [{"metric": m, "match": k, "difference": d} for m, k, ds in
            (("b", "x", (5, 1, 3)), ("a", "x", (2, 4)), ("a", "y", (7,))) for d in ds]  # fmt: skip
    assert list(medians(rows).items()) == [("a, x", 3.0), ("a, y", 7), ("b, x", 3)]
    recorded = json.loads((DATA / "results" / "confirmed.json").read_text("utf-8"))
    assert recorded["medians"] == medians(recorded["controls"])


class Table(list):
    def to_dict(self, how):
        assert how == "records"
        return list(self)


class Dose:
    def _asdict(self):
        return {"dose": 1}


@pytest.fixture
def confirm(monkeypatch):
    """The module with a library that answers with what it was given; `calls` and `prompts` keep it."""
    from grading import confirm

    calls, prompts = [], []

    def compare(model, given, plan, **how):
        calls.append(("compare", model, given, str(plan), how))
        rows = [{"metric": "m", "match": "count", "difference": 2}]
        return SimpleNamespace(metrics=Table([str(plan)]), controls=Table(rows), dose=Dose())

    supers = SimpleNamespace(flagged=lambda name: [name.upper()], notes=("n1", "n2"))
    monkeypatch.setattr(
        confirm, "opened", lambda folder, scratch: SimpleNamespace(model=f"model {folder}", store="store")
    )
    monkeypatch.setattr(confirm, "read_prompts", lambda lines: prompts.append(lines) or "prompts")
    monkeypatch.setattr(confirm, "compare", compare)
    monkeypatch.setattr(confirm, "expected", lambda split: split)
    monkeypatch.setattr(confirm, "sheet", lambda model, items, each: (model, items, each))
    monkeypatch.setattr(confirm, "score", lambda model, given, plan: [model, given, str(plan)])
    monkeypatch.setattr(
        confirm,
        "capture",
        lambda *given, **how: calls.append(("capture", given[0], given[1], given[2].name, how)) or "whole",
    )
    monkeypatch.setattr(confirm, "super_experts", lambda store: supers if store == "whole" else None)
    return SimpleNamespace(choice=confirm.confirm_choice, metrics=confirm.METRICS, calls=calls, prompts=prompts)


def test_the_choice_is_confirmed_on_the_heldout_split(confirm):
    choice = {"plan": "off L2E8; off L2E20", "force": "force L2E8"}
    given = ("model at", "heldout", 10_000)
    assert confirm.choice("at", choice) == {
        "choice": choice, "metrics": ["off L2E8; off L2E20"], "controls": [{"metric": "m", "match": "count", "difference": 2}],
        "medians": {"m, count": 2}, "dose": {"dose": 1}, "force": ["force L2E8"],
        "capabilities": {"base": ["model at", given, "nothing"], "off": ["model at", given, "off L2E8; off L2E20"]},
        "super experts": ["SUPER EXPERT"], "super expert notes": ["n1", "n2"],
    }  # fmt: skip
    assert [len(lines) for lines in confirm.prompts] == [128]
    assert {line["split"] for line in confirm.prompts[0]} == {"heldout"}
    how = {"metrics": confirm.metrics, "max_new_tokens": 16}
    draws = {"controls": {"count": 10, "layer": 10, "usage": 10}, "store": "store"}
    assert confirm.calls[0] == ("compare", "model at", "prompts", "off L2E8; off L2E20", how | draws)
    assert confirm.calls[1] == ("compare", "model at", "prompts", "force L2E8", how | {"controls": 0})
    assert confirm.calls[2] == ("capture", "model at", "prompts", "heldout", {"generate": 16, "progress": False})
