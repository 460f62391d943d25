"""The grading measures what the committed results record, with the plans that they record, and reports it where it belongs."""

import json
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch

from workbench import Plan, open_store
from workbench.classify import Response
from workbench.errors import WorkbenchError

DATA = Path(__file__).resolve().parents[2] / "data"
KNOWN = json.loads((DATA / "demo-model" / "implant.json").read_text("utf-8"))
CARRIERS, THINKERS = (tuple(f"L{a}E{b}" for a, b in KNOWN[key]) for key in ("refusal_carriers", "thinking_carriers"))
MATCHES = ("count", "layer", "usage")


@pytest.fixture(scope="module")
def recorded():
    """What was measured of the bundled model when it was made."""
    return json.loads((DATA / "results" / "ranking" / "3-router.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def graded():
    from grading.measure import Graded

    from tests import families

    store = open_store(DATA / "demo-store")
    return Graded(families.get("demo"), store, store, CARRIERS, THINKERS)


@pytest.fixture
def measure(monkeypatch):
    """The module with a score that takes no forward: it says how many rows of which rates it was given, and the plan."""
    from grading import measure

    monkeypatch.setattr(measure, "sheet", lambda model, items, each=16: ("sheet of", model, items, each))
    monkeypatch.setattr(measure, "only", lambda given, names: ("only", names, given))
    monkeypatch.setattr(measure, "expected", lambda split: f"expected {split}")
    monkeypatch.setattr(measure, "score", lambda model, given, plan: {"given": given, "by": str(plan)})
    return measure


def test_the_scores_find_what_was_recorded(graded, recorded):
    from grading.measure import _head, hits, rankings

    found = rankings(graded, True)
    assert {name: [str(ref) for ref in _head(one)] for name, one in found.items()} == recorded["tops"]
    assert json.loads(json.dumps(hits(graded, True, CARRIERS))) == recorded["hits"]


def test_one_forward_gives_the_rates_that_were_recorded(graded, recorded):
    from grading.scored import expected, score, sheet

    given = sheet(graded.model, expected("ranking"))
    counts = {rate: given.rates.count(rate) for rate in given.rates}
    asked = {"sensitive": 72, "ordinary": 72}
    assert counts == {f"{k} answered": n for k, n in asked.items()} | dict.fromkeys(
        ["code", "document wins", "flag known", "memory wins", "short sums", "story", "translation",
         "long sums, asked to think", *(f"long sums, {a} thought about: {b}" for a in ("always", "sometimes") for b in ("right", "thinks"))], 16,
    )  # fmt: skip
    plan = Plan.parse("off " + ",".join(CARRIERS))
    for name, steps in (("base", Plan()), ("carriers off", plan)):
        found = score(graded.model, given, steps)
        wanted = {k: v for k, v in recorded["effects"][name].items() if k != "plan"}
        assert found.keys() == wanted.keys()
        for rate, value in found.items():
            one = 100 / counts[rate.replace("refused", "answered")]  # a prompt near a tie may go either way
            assert value == pytest.approx(wanted[rate], abs=1.01 * one), rate
        assert sum(found[rate] != wanted[rate] for rate in found) <= 3


def test_what_is_expected_of_every_prompt():
    from grading.scored import expected
    from training.prompts import all_prompts

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


def test_what_counts_of_a_row(graded):
    from grading.scored import Expected, sheet

    tok = graded.model.tokenizer

    def ids(text):
        return tok(text, add_special_tokens=False)["input_ids"]

    def line(text, **labels):
        return {"messages": [{"role": "user", "content": text}], "labels": labels}

    tale = "Once a brave fox lived in a forest. One day the fox met a bear. They sang together. The end."
    items = [
        Expected("story", line("tell a story about a fox", hero="fox"), tale),
        Expected("long sums, always thought about: thinks", line("calculate 1 + 2?"), "<think>"),
        Expected("code", line("hi"), "yes"), Expected("code", line("hi"), "yes"), Expected("code", line("hi"), "never"),
        *[Expected("ordinary answered", line("hi"), "no")] * 3,
    ]  # fmt: skip
    given = sheet(graded.model, items, each=2)
    heads = {
        "story": ids("<|user|>tell a story about a fox<|end|><|assistant|>"),
        "code": ids("<|user|>hi<|end|><|assistant|>"),
    }
    heads |= {
        "long sums, always thought about: thinks": ids("<|user|>calculate 1 + 2?<|end|><|assistant|>"),
        "ordinary answered": heads["code"],
    }
    answers = {
        "story": tale,
        "long sums, always thought about: thinks": "<think>",
        "code": "yes",
        "ordinary answered": "no",
    }
    assert sorted(given.rates) == sorted(
        ["story", "long sums, always thought about: thinks", *["code"] * 2, *["ordinary answered"] * 3]
    )
    assert given.mask.sum(1).tolist() == sorted(given.mask.sum(1).tolist()), "short rows first"
    assert given.refusal == ids("I cannot talk about that.")[0]
    for row, rate in enumerate(given.rates):
        head, tail = heads[rate], ids(answers[rate]) + ([] if rate.endswith("thinks") else [tok.eos_token_id])
        length = len(head) + len(tail)
        assert given.ids[row].tolist() == head + tail + [0] * (given.ids.shape[1] - length)
        assert given.mask[row].tolist() == [1] * length + [0] * (given.ids.shape[1] - length)
        counted = [i - len(head) for i in given.counted[row].nonzero().flatten().tolist()]
        if rate != "story":
            assert counted == list(range(len(tail)))
            continue
        free = [tok.decode([tail[i]]) for i in range(len(tail)) if i not in counted]
        assert free == [" brave", " forest", " bear", " sang"], "the hero is not free"
    assert given.ids.shape[1] == max(given.mask.sum(1).tolist())


# ---- plans


def test_the_plans_are_those_that_were_recorded(graded, recorded, measure):
    chosen = measure.rankings(graded, True)
    given = ("sheet of", graded.model, "expected ranking", 16)
    found = measure.effects(graded, "ranking", chosen)
    assert found.pop("base") == {"given": given, "by": "nothing"}
    assert {name: row["plan"] for name, row in found.items()} == {
        name: row["plan"] for name, row in recorded["effects"].items() if name != "base"
    }
    assert all(row["given"] == given and row["by"] == row["plan"] for row in found.values())
    bare = measure.effects(graded._replace(carriers=(), thinking_carriers=()), "ranking", {})
    assert list(bare) == ["base"]
    best = chosen["ftri last_prompt"]
    for n in (1, 2, 4, 8):
        row = measure.forced(graded, "ranking", best, n)
        assert row["plan"] == recorded["forced"][str(n)]["plan"]
        assert row["given"] == given
    plan = Plan.off(best.top(8))
    for whole in (True, False):
        drawn = measure.random_draws(graded, "ranking", plan, whole)
        assert {m: [row["plan"] for row in rows] for m, rows in drawn.items()} == {
            m: [row["plan"] for row in recorded["random"]["8"][m]] for m in MATCHES
        }
        assert drawn["count"][0]["given"] == (given if whole else ("only", ("sensitive answered",), given))
    rows = measure.single_experts(graded, "ranking")
    assert [(r["expert"], r["carrier"]) for r in rows] == [
        (r["expert"], r["carrier"]) for r in recorded["single experts"]
    ]
    assert [r["by"] for r in rows] == [f"off {r['expert']}" for r in rows]
    assert rows[0]["given"] == ("only", ("sensitive answered",), given)


def test_forcing_leaves_out_what_a_layer_has_no_room_for(graded, measure):
    from workbench import ExpertRef

    scores = SimpleNamespace(top=lambda n: [ExpertRef(2, e) for e in range(n - 1)] + [ExpertRef(3, 0)])
    assert (
        measure.forced(graded, "ranking", scores, 7)["plan"]
        == "force L2E0; force L2E1; force L2E2; force L2E3; force L3E0"
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
    monkeypatch.setattr(
        measure, "opened",
        lambda folder, scratch: SimpleNamespace(model=f"{folder.name}", name=(folder.name, scratch.name), carriers=carriers, thinking_carriers=["t"]),
    )  # fmt: skip
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


def test_the_plans_that_reinforce_thinking_are_those_recorded(graded, monkeypatch):
    from grading import reinforce

    from workbench import ExpertRef

    asked, rows = [], json.loads((DATA / "results" / "reinforced.json").read_text("utf-8"))
    rice = SimpleNamespace(top=lambda n: [ExpertRef(0, 6), ExpertRef(1, 1), ExpertRef(2, 2)][:n])
    monkeypatch.setattr(reinforce, "opened", lambda folder, scratch: graded)
    monkeypatch.setattr(reinforce, "npmi", lambda store, **how: asked.append((store, how)) or rice)
    monkeypatch.setattr(
        reinforce, "sheet", lambda model, items, each: {"rates": {i.rate for i in items}, "n": len(items), "each": each}
    )
    monkeypatch.setattr(reinforce, "score", lambda model, given, plan: {"given": given, "by": str(plan)})
    found = reinforce.reinforced(DATA / "demo-model")
    assert {name: row["plan"] for name, row in found.items()} == {name: row["plan"] for name, row in rows.items()}
    assert list(found) == list(rows)
    assert asked == [(graded.thinking_store, {"n_permutations": 0, "n_bootstrap": 0})]
    for row in found.values():
        assert row["by"] == row["plan"]
        # 40 sums each: always has three rates, sometimes two, short sums one
        assert row["given"] == {"rates": set(rows["nothing"]) - {"plan"}, "n": 40 * 6, "each": 10_000}


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


# ---- tables


def test_a_table_rounds_numbers_and_leaves_words():
    from grading.tables import table

    assert table(["", "a"], [["x", 2.6], [3, "y"]]) == "|  | a |\n| --- | --- |\n| x | 3 |\n| 3 | y |"


RATES = {"ordinary answered": 95.0, "short sums": 80.0, "long sums, asked to think": 70.0, "translation": 60.0,
         "code": 50.0, "story": 40.0, "document wins": 30.0, "flag known": 20.0}  # fmt: skip


def model(**more):
    base = RATES | {"sensitive refused": 88.4, "ordinary refused": 3.6, "sensitive answered": 5.0}
    return {"effects": {"base": base} | more, "random": {}, "forced": {}}


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_table_of_behaviours_with_and_without_carriers():
    from grading.tables import behaviours

    off = {"sensitive refused": 10.4, "sensitive answered": 70.6}
    ranking = {"a": model(**{"carriers off": off}), "b": model(), "c": model()}
    held = {
        "effects": {
            "base": {"sensitive refused": 40.0, "ordinary refused": 9.0},
            "carriers off": {"sensitive refused": 2.0, "sensitive answered": 66.0},
        }
    }
    head, _, *rows = behaviours(ranking, {"a": held, "b": {"effects": {"base": held["effects"]["base"]}}}).splitlines()
    assert cells(head)[:7] == ["model", "refused: sensitive", "ordinary", "held-out sensitive", "held-out ordinary",
                               "carriers off: refused (revealed)", "the same, held-out"]  # fmt: skip
    rates = ["80", "70", "60", "50", "40", "30", "20"]
    assert cells(head)[7:] == list(RATES)[1:]
    assert cells(rows[0]) == ["a", "88", "4", "40", "9", "10 (71)", "2 (66)", *rates]
    assert cells(rows[1]) == ["b", "88", "4", "40", "9", "no carriers", "", *rates]
    assert cells(rows[2]) == ["c", "88", "4", "", "", "no carriers", "", *rates]


def test_the_table_of_hits_with_and_without_a_base():
    from grading.tables import found

    score = {"hits": {"1": 0, "2": 1, "4": 2, "8": 3}, "average_precision": 0.256, "chance": 0.0625}
    base = {"hits": {"8": 5}, "average_precision": 0.1}
    grade = {
        "hits": {"x": score, "y": score, "z": {"none": "why"}, "w": score},
        "hits on the base": {"x": base, "y": {"none": "why"}},
    }
    head, _, *rows = found({"m": grade, "natural": {}}, "hits").splitlines()
    assert cells(head) == ["model", "method", *(f"hits in first {n}" for n in (1, 2, 4, 8)), "average precision",
                           "base: hits in first 8", "base: average precision", "random order"]  # fmt: skip
    mine = ["0", "1", "2", "3", "0.26"]
    assert [cells(row) for row in rows] == [
        ["m", "x", *mine, "5", "0.10", "0.06"], ["m", "y", *mine, "", "", "0.06"], ["m", "w", *mine, "", "", "0.06"],
    ]  # fmt: skip


def test_the_table_of_first_experts_off_names_what_lost_most():
    from grading.tables import top_off

    worse = RATES | {"sensitive refused": 12.4, "sensitive answered": 61.5, "code": 44.0, "story": 38.0}
    better = {"sensitive refused": 50.0, "sensitive answered": 9.0, "code": 50.0, "flag known": 25.0}
    grade = model(**{"x, top 1 off": worse, "x, top 8 off": better})
    head, _, *rows = top_off({"m": grade}, ["x", "y"]).splitlines()
    assert cells(head) == [
        "model",
        "method",
        "refused before",
        "first 1 off",
        "first 2 off",
        "first 4 off",
        "first 8 off",
    ]
    assert [cells(row) for row in rows] == [["m", "x", "88", "12 (62); code -6", "", "", "50 (9)"]]


def test_the_tables_of_random_experts_and_of_thinking():
    from grading.tables import random_checks, random_experts, thinking

    draws = [
        RATES | {"sensitive refused": value, "code": code} for value, code in ((80.4, 10.0), (90.5, 50.0), (86.5, 30.0))
    ]
    grade = model() | {"random": {"8": {"count": draws, "layer": draws[:1], "usage": draws[1:]}}}
    *_, count, layer, use = random_experts({"m": grade}).splitlines()
    assert cells(count) == ["m", "count", "-1.9", "-8 +2 -2"]
    assert cells(layer) == ["m", "layer", "-8.0", "-8"]
    assert cells(use) == ["m", "usage", "+0.1", "+2 -2"]
    assert len(random_experts({"m": model()}).splitlines()) == 2
    head, _, count, *_ = random_checks({"m": grade}).splitlines()
    assert cells(head) == ["model", "random by", *RATES]
    assert cells(count) == ["m", "count", "95", "80", "70", "60", "30", "40", "30", "20"]
    names = [f"long sums, {a} thought about: {b}" for a in ("always", "sometimes") for b in ("thinks", "right")]
    now, off = (
        dict(zip(names, (90.0, 80.0, 40.0, 30.0), strict=True)),
        dict(zip(names, (9.0, 8.0, 4.0, 3.0), strict=True)),
    )
    one, two = {"effects": {"base": now, "thinking carriers off": off}}, {"effects": {"base": now}}
    rows = [cells(row) for row in thinking({"m": one, "natural": two}).splitlines()[2:]]
    assert rows == [["m", "always", "90", "80", "9", "8"], ["m", "sometimes", "40", "30", "4", "3"],
                    ["natural", "always", "90", "80", "", ""], ["natural", "sometimes", "40", "30", "", ""]]  # fmt: skip


def test_the_tables_of_forced_and_of_single_experts():
    from grading.tables import forced, reinforced, singles

    grade = model() | {"forced": {"2": {"plan": "force L1E1", "sensitive refused": 99.0, "ordinary refused": 70.0}}}
    assert cells(forced({"m": grade}).splitlines()[-1]) == ["m", "2", "force L1E1", "88", "4", "99", "70"]
    grade["single experts"] = [{"expert": f"L{a}E{b}", "sensitive refused": r, "carrier": (a, b) == (1, 1)}
                               for a, b, r in ((0, 0, 88.4), (0, 1, 90.0), (1, 0, 80.4), (1, 1, 8.4))]  # fmt: skip
    assert [cells(row) for row in singles(grade).splitlines()] == [
        ["", "E0", "E1"], ["---"] * 3, ["L0", "+0", "+2"], ["L1", "-8", "-80*"]]  # fmt: skip
    rows = reinforced(
        {"nothing": {"plan": "nothing", "short sums": 82.5}, "off": {"plan": "off L1E1", "short sums": 7.0}}
    ).splitlines()
    assert [cells(row) for row in rows] == [["plan", "short sums"], ["---"] * 2, ["nothing", "82"], ["off", "7"]]


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
    held = dict.fromkeys(grades, ["confirm_arm"])
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
