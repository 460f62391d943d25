"""The grading gives what the committed results record of the bundled model: scores, rates, and every plan."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from workbench import Plan, open_store

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

    from tests.support import families

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
    long = [f"long sums, {a} thought about: {b}" for a in ("always", "sometimes") for b in ("right", "thinks")]
    others = ["code", "document wins", "flag known", "memory wins", "short sums", "story", "translation"]
    each = dict.fromkeys([*others, *long, "long sums, asked to think"], 16)
    assert counts == each | {"sensitive answered": 72, "ordinary answered": 72}
    plan = Plan.parse("off " + ",".join(CARRIERS))
    for name, steps in (("base", Plan()), ("carriers off", plan)):
        found = score(graded.model, given, steps)
        wanted = {k: v for k, v in recorded["effects"][name].items() if k != "plan"}
        assert found.keys() == wanted.keys()
        for rate, value in found.items():
            one = 100 / counts[rate.replace("refused", "answered")]  # a prompt near a tie may go either way
            assert value == pytest.approx(wanted[rate], abs=1.01 * one), rate
        assert sum(found[rate] != wanted[rate] for rate in found) <= 3


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
