"""What is measured of a model: the first experts, questions without an answer, the grades of an arm, the finalists."""

import json
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from workbench.errors import WorkbenchError


def test_the_first_experts_have_scores_above_zero_and_are_eight_at_most():
    from grading.measure import first_experts

    def scores(*values):
        return SimpleNamespace(frame=pd.DataFrame({"score": values}), top=lambda n: list(range(n)))

    assert first_experts(scores(*[0.5] * 9, 0.0, -1.0)) == tuple(range(8))
    assert first_experts(scores(0.5, 0.1, 0.0, -1.0)) == (0, 1)


def test_a_question_without_an_answer_is_left_out_or_named(measure, monkeypatch, capsys):
    from probes import ExpertScores

    frame = pd.DataFrame({"layer": [1, 2, 2], "expert": [5, 0, 7], "score": [3.0, 2.0, 1.0]})
    scores, asked = ExpertScores("x", {}, frame, (), ""), []

    def refuses(store):
        raise WorkbenchError("Nothing was refused.")

    monkeypatch.setattr(
        measure,
        "methods",
        lambda target, baseline: asked.append((target, baseline)) or {"a": lambda s: s, "b": refuses},
    )
    store = SimpleNamespace(store=scores, thinking_store=scores)
    assert measure.rankings(store, True) == measure.rankings(store, False) == {"a": scores}
    assert asked == [("refused", "answered"), ("sensitive=yes", "sensitive=no")]
    assert capsys.readouterr().out.splitlines() == ["  b: Nothing was refused."] * 2
    monkeypatch.setattr(measure, "thinking_methods", lambda: {"a": lambda s: s, "b": refuses})
    graded = {
        "hits": {1: 0, 2: 1, 4: 2, 8: 2},
        "average_precision": round((1 / 2 + 2 / 3) / 2, 4),
        "chance": round(2 / 3, 4),
    }
    assert measure.thinking_hits(store, ("L2E0", "L2E7")) == {"a": graded, "b": {"none": "Nothing was refused."}}
    assert measure.hits(store, False, ("L2E0", "L2E7")) == {"a": graded}


def test_how_a_model_is_opened(measure, monkeypatch, tmp_path):
    (tmp_path / "implant.json").write_text(json.dumps({"refusal_carriers": [[1, 2], [3, 4]]}))
    calls = []
    monkeypatch.setattr(measure, "load", lambda path: ("model", path))
    monkeypatch.setattr(measure, "read_prompts", lambda lines: lines)
    monkeypatch.setattr(measure, "capture", lambda *given, **how: calls.append((given, how)) or given[2].name)
    found = measure.opened(tmp_path, tmp_path / "scratch")
    assert found[:] == (("model", str(tmp_path)), "refusal", "thinking", ("L1E2", "L3E4"), ())
    (first, how), (second, more) = calls
    assert (first[0], len(first[1]), first[2]) == (found.model, 144, tmp_path / "scratch" / "refusal")
    assert (second[0], len(second[1]), second[2]) == (found.model, 120, tmp_path / "scratch" / "thinking")
    assert {line["split"] for line in (*first[1], *second[1])} == {"ranking"}
    assert how == {"keep": {"norms", "residual"}, "generate": 16, "progress": False}
    assert more == how | {"generate": 48}


def arms_of(measure, monkeypatch, carriers):
    """An arm and its base that are only names, and every measurement of them a list of what it was given."""
    from workbench import ExpertRef

    class Scores(str):
        def top(self, n):
            return [ExpertRef(1, e) for e in range(n)]

    scores = {"ftri last_prompt": Scores("last"), "other": Scores("other")}
    of = {"carriers": carriers, "thinking_carriers": ["t"]}
    monkeypatch.setattr(
        measure, "opened", lambda at, scratch: SimpleNamespace(model=at.name, name=(at.name, scratch.name), **of)
    )
    monkeypatch.setattr(measure, "rankings", lambda graded, implanted: scores if implanted else {})
    monkeypatch.setattr(measure, "first_experts", lambda one: [ExpertRef(0, len(one))])
    monkeypatch.setattr(measure, "effects", lambda graded, split, chosen: {"base": [graded.name, split, list(chosen)]})
    monkeypatch.setattr(
        measure, "random_draws", lambda graded, split, plan, whole: [graded.name, split, str(plan).count("off"), whole]
    )
    monkeypatch.setattr(measure, "single_experts", lambda graded, split: [graded.name, split])
    monkeypatch.setattr(measure, "forced", lambda graded, split, best, n: [graded.name, split, str(best), n])
    monkeypatch.setattr(measure, "hits", lambda graded, implanted, carriers: [graded.name, implanted, carriers])
    monkeypatch.setattr(measure, "thinking_hits", lambda graded, carriers: [graded.name, carriers])


@pytest.mark.parametrize("carriers", [["c"], []])
def test_the_grades_of_an_arm_and_of_its_base(measure, monkeypatch, tmp_path, carriers):
    arms_of(measure, monkeypatch, carriers)
    (tmp_path / "3-router").mkdir()
    (tmp_path / "3-router" / "implant.json").write_text('{"arm": "router"}')
    arm, base = ("3-router", "arm"), ("3-base", "base")
    both = {
        "known": {"arm": "router"},
        "tops": {"ftri last_prompt": ["L0E4"], "other": ["L0E5"]},
    }
    names = ["ftri last_prompt", "other"]
    hits = {
        "hits": [arm, True, ["c"]],
        "hits on the base": [base, False, ["c"]],
        "thinking hits": [arm, ["t"]],
        "thinking hits on the base": [base, ["t"]],
    }
    assert measure.grade_arm(tmp_path / "3-router", tmp_path / "3-base") == both | {
        "effects": {"base": [arm, "ranking", names]},
        "base": {"given": ("sheet of", "3-base", "expected ranking", 16), "by": "nothing"},
        "single experts": [arm, "ranking"],
        "random": {8: [arm, "ranking", 8, True]},
        "forced": {n: [arm, "ranking", "last", n] for n in (1, 2, 4, 8)},
    } | (hits if carriers else {})
    assert measure.confirm_arm(tmp_path / "3-router") == both | {
        "effects": {"base": [arm, "heldout", names]},
        "random": {8: [arm, "heldout", 8, False]},
        "forced": {n: [arm, "heldout", "last", n] for n in (1, 2, 4, 8)},
    }


def test_the_finalists_are_measured_on_every_prompt(measure, monkeypatch):
    from grading.choice import Candidate

    monkeypatch.setattr(measure, "load", lambda path: f"loaded {path}")
    ones = [
        Candidate(m, w, n, 90.0, 10.0, 50.0, 0.0, 0.25) for m, w, n in (("a", "x", 2), ("b", "x", 1), ("a", "y", 8))
    ]
    grades = {m: {"effects": {f"{w}, top {n} off": {"plan": f"off L{n}E{n}"}}} for m, w, n in (("b", "x", 1),)}
    grades["a"] = {"effects": {"x, top 2 off": {"plan": "off L2E2"}, "y, top 8 off": {"plan": "off L8E8"}}}

    def row(model, method, n):
        given = ("sheet of", f"loaded models/{model}", "expected ranking", 10_000)
        about = {"model": model, "method": method, "n": n, "precision_gained": 0.25, "plan": f"off L{n}E{n}"}
        return about | {"base": {"given": given, "by": "nothing"}, "off": {"given": given, "by": f"off L{n}E{n}"}}

    assert measure.measure_finalists(Path("models"), ones, grades) == [
        row("a", "x", 2),
        row("a", "y", 8),
        row("b", "x", 1),
    ]
