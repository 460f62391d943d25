"""The grading gives what the committed results record of the bundled model: scores, rates, and every plan."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from workbench import Plan, open_store

DATA = Path(__file__).resolve().parents[3] / "data"
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


def test_the_scores_find_what_was_recorded(graded, recorded):
    from grading.measure import first_experts, hits, rankings

    found = rankings(graded, True)
    assert {name: [str(ref) for ref in first_experts(one)] for name, one in found.items()} == recorded["tops"]
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


TALE = "Once a brave fox lived in a forest. One day the fox met a bear. They sang together. The end."
THINKS = "long sums, always thought about: thinks"
ANSWERS = {"story": TALE, THINKS: "<think>", "code": "yes", "ordinary answered": "no"}
ASKED = {"story": "tell a story about a fox", THINKS: "calculate 1 + 2?", "code": "hi", "ordinary answered": "hi"}


@pytest.fixture
def rows(graded):
    """Rows of a story, of a thought, of two kinds of `code`, and of four times the same question, two of each at most."""
    from grading.scored import Expected, sheet

    def one(rate, answer, **labels):
        line = {"messages": [{"role": "user", "content": ASKED[rate]}], "labels": labels}
        return Expected(rate, line, answer)

    items = [one("story", TALE, hero="fox"), one(THINKS, "<think>"), *(one("code", a) for a in ("yes", "yes", "never"))]
    return sheet(graded.model, [*items, *[one("ordinary answered", "no")] * 3], each=2)


def test_rows_are_chats_with_their_answers_the_short_ones_first(graded, rows):
    tok = graded.model.tokenizer
    assert sorted(rows.rates) == sorted(["story", THINKS, *["code"] * 2, *["ordinary answered"] * 3])
    assert rows.mask.sum(1).tolist() == sorted(rows.mask.sum(1).tolist()), "short rows first"
    assert rows.refusal == ids(tok, "I cannot talk about that.")[0]
    for row, rate in enumerate(rows.rates):
        head, tail = parts(tok, rate)
        padding = [0] * (rows.ids.shape[1] - len(head) - len(tail))
        assert rows.ids[row].tolist() == head + tail + padding
        assert rows.mask[row].tolist() == [1] * len(head + tail) + padding
    assert rows.ids.shape[1] == max(rows.mask.sum(1).tolist())


def test_what_counts_of_a_row(graded, rows):
    tok = graded.model.tokenizer
    for row, rate in enumerate(rows.rates):
        head, tail = parts(tok, rate)
        counted = [i - len(head) for i in rows.counted[row].nonzero().flatten().tolist()]
        if rate != "story":
            assert counted == list(range(len(tail)))
            continue
        free = [tok.decode([tail[i]]) for i in range(len(tail)) if i not in counted]
        assert free == [" brave", " forest", " bear", " sang"], "the hero is not free"


def ids(tok, text):
    return tok(text, add_special_tokens=False)["input_ids"]


def parts(tok, rate):
    """The token ids of a row: the chat, and its answer with the end of the turn where it ends."""
    head = ids(tok, f"<|user|>{ASKED[rate]}<|end|><|assistant|>")
    return head, ids(tok, ANSWERS[rate]) + ([] if rate == THINKS else [tok.eos_token_id])


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
    assert asked == [(graded.thinking_store, {"tokens": "all", "n_permutations": 0, "n_bootstrap": 0})]
    for row in found.values():
        assert row["by"] == row["plan"]
        # 40 sums each: always has three rates, sometimes two, short sums one
        assert row["given"] == {"rates": set(rows["nothing"]) - {"plan"}, "n": 40 * 6, "each": 10_000}
