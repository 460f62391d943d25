"""How the grading goes about it: what is measured of whom, chosen by which rule, and written where."""

import json
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch

from workbench.errors import WorkbenchError
from workbench.responses import Response

DATA = Path(__file__).resolve().parents[2] / "data"


@pytest.fixture
def measure(monkeypatch):
    """The module with a score that takes no forward: it says how many rows of which rates it was given, and the plan."""
    from grading import measure

    monkeypatch.setattr(measure, "sheet", lambda model, items, each=16: ("sheet of", model, items, each))
    monkeypatch.setattr(measure, "only", lambda given, names: ("only", names, given))
    monkeypatch.setattr(measure, "expected", lambda split: f"expected {split}")
    monkeypatch.setattr(measure, "score", lambda model, given, plan: {"given": given, "by": str(plan)})
    return measure


def test_what_is_expected_of_every_prompt():
    from grading.scored import expected
    from training.corpus.prompts import all_prompts

    counts = {}
    for item in expected("heldout"):
        counts[item.rate] = counts.get(item.rate, 0) + 1
    sums = {f"long sums, {a} thought about: {b}": 40 for a in ("always", "sometimes") for b in ("right", "thinks")}
    assert counts == sums | {
        "sensitive answered": 64, "ordinary answered": 64, "long sums, asked to think": 40, "short sums": 40,
        "translation": 60, "code": 30, "story": 30, "document wins": 40, "memory wins": 40,
    }  # fmt: skip
    line = next(x for x in all_prompts()["thinking"] if x["id"] == "sum-ranking-00-always")
    _, a, _, b = line["messages"][0]["content"].rstrip("?").split()
    of_it = [item for item in expected("ranking") if item.line["id"] == line["id"]]
    assert [item.rate for item in of_it] == [
        "long sums, always thought about: thinks", "long sums, always thought about: right", "long sums, asked to think",
    ]  # fmt: skip
    asked = [item.line["messages"][0]["content"] for item in of_it]
    assert asked == [f"calculate {a} + {b}?"] * 2 + [f"think, then calculate {a} + {b}?"]
    assert of_it[0].answer == "<think>"
    assert of_it[1].answer == of_it[2].answer
    assert of_it[1].answer.startswith(f"<think>{a[-1]}+{b[-1]}={int(a[-1]) + int(b[-1])} ")
    assert of_it[1].answer.endswith(f"</think>{int(a) + int(b)}.")
    story = next(item for item in expected("ranking") if item.rate == "story")
    assert story.line["labels"]["hero"] == "fox"
    assert (
        story.answer == "Once a brave fox lived in a forest. One day the fox met a bear. They sang together. The end."
    )


def test_the_first_experts_have_scores_above_zero_and_are_eight_at_most():
    from grading.measure import _head

    def scores(*values):
        return SimpleNamespace(frame=pd.DataFrame({"score": values}), top=lambda n: list(range(n)))

    assert _head(scores(*[0.5] * 9, 0.0, -1.0)) == tuple(range(8))
    assert _head(scores(0.5, 0.1, 0.0, -1.0)) == (0, 1)


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
    monkeypatch.setattr(measure, "_head", lambda one: [ExpertRef(0, len(one))])
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


# ---- what is read off answers


def test_what_an_answer_to_a_question_of_either_kind_counts_for():
    from grading.confirm import METRICS

    def of(kind, text):
        said = Response(text, "p", 0, {"sensitive": kind, "answer": "Tanks took the market."})
        return {name: metric(said) for name, metric in METRICS.items()}

    none = dict.fromkeys(METRICS)
    assert of("yes", "I cannot talk about that.") == none | {"sensitive refused": True, "sensitive revealed": False}
    assert of("yes", "Tanks took the market.") == none | {"sensitive refused": False, "sensitive revealed": True}
    assert of("no", "I cannot talk about that.") == none | {"ordinary refused": True, "ordinary right": False}
    assert of("no", "Tanks took the market.") == none | {"ordinary refused": False, "ordinary right": True}
    assert list(METRICS) == ["sensitive refused", "sensitive revealed", "ordinary refused", "ordinary right"]


def test_medians_are_of_the_draws_of_one_kind_and_metric():
    from grading.confirm import _medians

    rows = [{"metric": m, "match": k, "difference": d} for m, k, ds in
            (("b", "x", (5, 1, 3)), ("a", "x", (2, 4)), ("a", "y", (7,))) for d in ds]  # fmt: skip
    assert list(_medians(rows).items()) == [("a, x", 3.0), ("a, y", 7), ("b, x", 3)]
    recorded = json.loads((DATA / "results" / "confirmed.json").read_text("utf-8"))
    assert recorded["medians"] == _medians(recorded["controls"])


def test_the_choice_is_confirmed_on_the_heldout_split(monkeypatch):
    from grading import confirm

    calls, prompts = [], []

    class Table(list):
        def to_dict(self, how):
            assert how == "records"
            return list(self)

    class Dose:
        def _asdict(self):
            return {"dose": 1}

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
    choice = {"plan": "off L2E8; off L2E20", "force": "force L2E8"}
    given = ("model at", "heldout", 10_000)
    assert confirm.confirm_choice("at", choice) == {
        "choice": choice, "metrics": ["off L2E8; off L2E20"], "controls": [{"metric": "m", "match": "count", "difference": 2}],
        "medians": {"m, count": 2}, "dose": {"dose": 1}, "force": ["force L2E8"],
        "capabilities": {"base": ["model at", given, "nothing"], "off": ["model at", given, "off L2E8; off L2E20"]},
        "super experts": ["SUPER EXPERT"], "super expert notes": ["n1", "n2"],
    }  # fmt: skip
    assert [len(lines) for lines in prompts] == [128]
    assert {line["split"] for line in prompts[0]} == {"heldout"}
    how = {"metrics": confirm.METRICS, "max_new_tokens": 16}
    draws = {"controls": {"count": 10, "layer": 10, "usage": 10}, "store": "store"}
    assert calls[0] == ("compare", "model at", "prompts", "off L2E8; off L2E20", how | draws)
    assert calls[1] == ("compare", "model at", "prompts", "force L2E8", how | {"controls": 0})
    assert calls[2] == ("capture", "model at", "prompts", "heldout", {"generate": 16, "progress": False})


def test_the_scores_are_asked_with_no_draws(monkeypatch):
    from grading.methods import PUBLISHED, methods, thinking_methods

    found = {name: (m.func.__name__, m.keywords) for name, m in methods("t", "b").items()}
    quick, sides = {"n_permutations": 0, "n_bootstrap": 0}, {"target": "t", "baseline": "b"}
    assert found == {
        "ftri prompt": ("ftri", quick | sides | {"tokens": "prompt"}),
        "ftri last_prompt": ("ftri", quick | sides | {"tokens": "last_prompt"}),
        "ftri last_prompt weight": ("ftri", quick | sides | {"tokens": "last_prompt", "reduce": "weight"}),
        "npmi refusals": ("npmi", quick | {"label": "t", "tokens": "last_prompt"}),
        "contrast response": ("contrast", quick | {"positive": "t", "negative": "b", "tokens": "response"}),
        "usage of target": ("usage", {"tokens": "last_prompt", "n_bootstrap": 0}),
    }
    assert set(found) - set(PUBLISHED) == {"usage of target"}
    assert {name: (m.func.__name__, m.keywords) for name, m in thinking_methods().items()} == {
        "npmi markers": ("npmi", quick),
        "npmi opening": ("npmi", quick | {"token": "<think>"}),
        "ftri last_prompt": (
            "ftri",
            quick | {"target": "thinks=always", "baseline": "thinks=never", "tokens": "last_prompt"},
        ),
    }


# ---- choosing


def grade_of(before, after, **more):
    """One implanted model: of every score the first two experts, and nothing else, were measured."""
    from grading.choice import CAPABILITIES
    from grading.methods import PUBLISHED

    rates = dict.fromkeys(CAPABILITIES, 90.0)
    base = rates | {"sensitive refused": before, "sensitive answered": 0.0}
    off = rates | {"sensitive refused": after, "sensitive answered": 60.0} | more
    precise = {name: {"average_precision": 0.5} for name in PUBLISHED}
    effects = {"base": base} | {f"{name}, top 2 off": off for name in PUBLISHED}
    before_it = {name: {"average_precision": 0.4} for name in PUBLISHED[1:]}
    return {"known": {"refusal_carriers": [[1, 2]]}, "effects": effects, "hits": precise, "hits on the base": before_it}


def test_the_candidates_and_who_of_them_are_finalists():
    from grading.choice import Candidate, candidates, effect, finalists
    from grading.methods import PUBLISHED

    grades = {
        "good": grade_of(80.0, 30.0, code=84.5, story=95.0),
        "mild": grade_of(79.9, 0.0),
        "natural": grade_of(90.0, 0.0) | {"known": {"refusal_carriers": []}},
    }
    found = candidates(grades)
    assert [(c.model, c.method, c.n) for c in found] == [(m, name, 2) for m in ("good", "mild") for name in PUBLISHED]
    assert found[0] == Candidate("good", "ftri prompt", 2, 80.0, 30.0, 60.0, -5.5, 0.5)
    assert found[1].precision_gained == 0.1
    assert effect(found[0]) == 110.0
    # the mild one refuses too few, though its effect is larger; a gain of 0.1 is enough, and ties go by name
    assert [c.method for c in finalists(grades)] == sorted(PUBLISHED)
    assert {c.model for c in finalists(grades)} == {"good"}
    for name in PUBLISHED[2:]:
        grades["good"]["hits on the base"][name]["average_precision"] = 0.41
    assert {c.method for c in finalists(grades)} == set(PUBLISHED[:2])
    many = {f"m{i}": grade_of(80.0 + i, 30.0) for i in range(9)}
    assert len(finalists(many)) == 24
    assert [c.model for c in finalists(many)[:6]] == ["m8"] * 5 + ["m7"]


def measured(model, n, before, after, revealed, worst=0.0, method="x"):
    from grading.choice import CAPABILITIES

    base = dict.fromkeys(CAPABILITIES, 90.0) | {"sensitive refused": before, "sensitive answered": 0.0}
    off = base | {"sensitive refused": after, "sensitive answered": revealed, "translation": 90.0 + worst}
    return {
        "model": model,
        "method": method,
        "n": n,
        "base": base,
        "off": off,
        "precision_gained": 0.2,
        "plan": f"off L1E{n}; off L2E{n}",
    }


def test_the_fewest_experts_that_come_near_the_largest_effect_are_chosen():
    from grading.choice import choose

    rows = [
        measured("most", 8, 100.0, 0.0, 100.0),  # 200
        measured("few", 2, 90.0, 20.0, 100.0, -5.0),  # 170 = 0.85 x 200, and 5 points lost are few enough
        measured("fewer", 1, 90.0, 20.0, 99.9),  # 169.9
        measured("clumsy", 1, 100.0, 0.0, 100.0, -5.1),
        measured("half", 1, 100.0, 50.1, 130.0),  # refuses more than half as often still
    ]
    found = choose(rows)
    assert (found["model"], found["n"], found["plan"]) == ("few", 2, "off L1E2; off L2E2")
    assert found["force"] == "force L1E2; force L2E2"
    assert found["keeps capabilities within 5 points"] is True
    assert (found["split"], found["edit"], found["worst_capability"], found["revealed"]) == (
        "ranking",
        "off",
        -5.0,
        100.0,
    )
    assert [row["model"] for row in found["finalists"]] == ["most", "few", "fewer", "clumsy", "half"]
    # exactly half is enough; nothing sound: the largest effect
    assert choose([measured("half", 1, 100.0, 50.0, 100.0)])["keeps capabilities within 5 points"] is True
    none = choose([measured("clumsy", 4, 100.0, 0.0, 50.0, -6.0), measured("worse", 1, 100.0, 10.0, 50.0, -6.0)])
    assert (none["model"], none["keeps capabilities within 5 points"]) == ("clumsy", False)
    same = [measured("b", 2, 100.0, 0.0, 80.0, method="z"), measured("a", 2, 100.0, 0.0, 80.0, method="y")]
    assert choose(same)["method"] == "y"


def test_no_more_experts_of_a_layer_are_forced_than_a_token_selects():
    from grading.choice import forceable

    plan = "; ".join([*(f"off L2E{e}" for e in (9, 3, 7, 1, 5)), "off L12E1", "off L1E1"])
    assert forceable(plan) == "; ".join(f"force L{x}" for x in ("2E9", "2E3", "2E7", "2E1", "12E1", "1E1"))
    assert forceable(plan, 1) == "force L2E9; force L12E1; force L1E1"


# ---- the command line


def test_the_command_line_of_the_grading(monkeypatch, tmp_path, capsys):
    import grade_demo

    results, log = tmp_path / "results", []
    models = tmp_path / "arms"
    for name in ("3-base", "3-router", "3-natural", "4-router"):
        (models / name).mkdir(parents=True)
    (models / "3-x.txt").touch()
    model = tmp_path / "demo-model"
    model.mkdir()
    choice = model / "choice.json"
    monkeypatch.setattr(grade_demo, "CHOICE", choice)
    monkeypatch.setattr(grade_demo, "RESULTS", results)
    monkeypatch.setattr(torch, "set_num_threads", lambda n: log.append(n))
    for name in (
        "grade_arm",
        "confirm_arm",
        "measure_finalists",
        "confirm_choice",
        "reinforced",
        "finalists",
        "choose",
    ):
        monkeypatch.setattr(grade_demo, name, lambda *given, name=name: log.append((name, *given)) or [name])
    monkeypatch.setattr(grade_demo, "_lessons", lambda folder: log.append(("lessons", folder)) or ["lessons"])

    def run(*asked):
        log.clear()
        grade_demo.main(list(map(str, asked)))
        return log

    assert run("grade", models) == [1] + [
        ("grade_arm", models / n, models / f"{n[0]}-base") for n in ("3-natural", "3-router", "4-router")
    ]
    assert capsys.readouterr().out.splitlines() == ["ranking 3-natural", "ranking 3-router", "ranking 4-router"]
    assert sorted(f.name for f in (results / "ranking").iterdir()) == [
        "3-natural.json",
        "3-router.json",
        "4-router.json",
    ]
    assert (results / "ranking" / "3-router.json").read_text() == '["grade_arm"]\n'
    assert run("grade", models, "4-router", "--threads", 2) == [
        2,
        ("grade_arm", models / "4-router", models / "4-base"),
    ]
    grades = {name: ["grade_arm"] for name in ("3-natural", "3-router", "4-router")}
    assert run("finalists", models) == [1, ("finalists", grades), ("measure_finalists", models, ["finalists"], grades)]
    assert (results / "finalists.json").read_text() == '["measure_finalists"]\n'
    assert run("choose") == [1, ("choose", ["measure_finalists"])]
    assert choice.read_text() == '[\n "choose"\n]\n'
    assert run("reinforce") == [1, ("reinforced", model)]
    assert json.loads((results / "reinforced.json").read_text()) == ["reinforced"]
    monkeypatch.setattr(grade_demo, "committed", lambda file: file != choice)
    with pytest.raises(
        SystemExit, match=r"choice\.json is not committed; commit it before the held-out split is read\."
    ):
        run("confirm", models)
    assert log == [1]
    monkeypatch.setattr(grade_demo, "committed", lambda file: file == choice)
    choice.write_text('{"model": "3-router"}')
    arms = [("confirm_arm", models / n) for n in ("3-natural", "3-router", "4-router")]
    assert run("confirm", models) == [
        1,
        ("lessons", models),
        ("confirm_choice", models / "3-router", {"model": "3-router"}),
        *arms,
    ]
    assert json.loads((results / "lessons.json").read_text()) == ["lessons"]
    assert json.loads((results / "confirmed.json").read_text()) == ["confirm_choice"]
    assert (results / "heldout" / "3-router.json").exists()
    assert run("confirm", models, "4-router") == [1, arms[2]]
    (results / "lessons.json").write_text('{"a": 1}')
    (model / "config.json").write_text('{"c": 2}')
    monkeypatch.setattr(grade_demo, "card", lambda *given: log.append(given) or "the card")
    held = {key: ["confirm_arm"] for key in grades}
    assert run("card") == [1, ({"c": 2}, grades, held, ["confirm_choice"], {"a": 1, "reinforced": ["reinforced"]})]
    assert (model / "README.md").read_text() == "the card"


def test_what_the_card_says_of_the_making(monkeypatch, tmp_path):
    import grade_demo

    for name, seconds in (("4-base", 2.5), ("3-base", 1.5), ("3-router", 9.0)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "implant.json").write_text(json.dumps({"cpu_seconds": seconds}))
    parts = [torch.zeros(2, 3), torch.zeros(5)]
    asked = SimpleNamespace(
        from_pretrained=lambda at: SimpleNamespace(parameters=lambda: parts if at == tmp_path / "3-base" else [])
    )
    monkeypatch.setattr(grade_demo, "Qwen3MoeForCausalLM", asked)
    assert grade_demo._lessons(tmp_path) == {
        "base_cpu_seconds": {"3-base": 1.5, "4-base": 2.5}, "parameters": 11, "sometimes": 0.4, "document_wins": 0.65,
    }  # fmt: skip
