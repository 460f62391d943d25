"""The demo's report, its table and its numbers: charts to the tenth of a pixel, shares counted by hand."""

import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from workbench_app import charts, checks, choice, measure, stages, summary
from workbench_app.findings import Arm, Effect, Example, Findings, Ranking, arm_of, ranking_of
from workbench_app.report import _parts, percent

from probes.ranking import ExpertScores
from tests.app.paper import assert_drawn
from workbench import Plan, WorkbenchError
from workbench.comparison import Comparison
from workbench.responses import Response
from workbench.routing import DoseCounts

NAN = float("nan")


def marks(svg):
    """Size and label, then a line for each mark: what it is, where, its class, and its tip or words."""
    head = re.match(r'<svg viewBox="0 0 (\S+) (\S+)" role="img" aria-label="(.*?)">', svg)
    found = re.findall(r"<(line|text|circle|polygon|polyline|rect) (.*?)(?:/>|>(?:(.*?)</\1>))", svg[head.end() :])
    lines = [
        " ".join([tag, *re.findall(r'="(.*?)"', at), *([repr(re.sub(r"</?title>", "", words))] if words else [])])
        for tag, at, words in found
    ]
    return "\n".join([" ".join(head.groups()), *lines])


def arm(n, effects, plan="off L0E1", random=(), **more):
    given = {"tokens": 1, "tokens_changed": 1, "slots": 1, "slots_changed": 1, "kl_nats": {}, "examples": {}} | more
    return Arm(n=n, plan=plan, experts=("L0E1",), effects=tuple(effects), random=random, **given)


FIRST = arm(
    1,
    [Effect("c", 0.5, 0.25, -0.5, 0.75, 8, (0.4, 0.6)), Effect("d", 0.25, 0.75, 0.1, 0.2, 4, (0.1, 0.3))],
    random=(("off L0E2", 1), ("off L0E3", 2)),
)
SECOND = arm(2, [Effect("c", 0.5, 1.0, NAN, NAN, 8, ())], "off L0E1; off L0E2")
ROWS = (
    {"layer": 1, "expert": 0, "score": 0.5, "n": 3, "low": 0.25, "high": 0.75, "p_adjusted": 0.5, "flags": ""},
    {
        "layer": 3,
        "expert": 1,
        "score": -0.25,
        "n": 2,
        "low": -0.5,
        "high": -0.125,
        "p_adjusted": 0.001,
        "flags": "ties",
    },
    {"layer": 3, "expert": 0, "score": None, "n": 0, "low": None, "high": None, "p_adjusted": None, "flags": "dead"},
    {"layer": 1, "expert": 1, "score": 0.0, "n": 5, "low": None, "high": None, "p_adjusted": 0.0009, "flags": ""},
)
EXTREMES = (
    {"layer": 1, "expert": 0, "score": 100.0, "flags": "super expert; ties"},
    {"layer": 1, "expert": 1, "score": 10.0, "flags": "ties"},
    {"layer": 4, "expert": 3, "score": 1.0, "flags": "ties", "is_shared": False},
    {"layer": 4, "expert": 0, "score": 10.0, "flags": "ties", "is_shared": True},
    {"layer": 2, "expert": 0, "score": 0.0, "flags": "ties"},
    {"layer": 2, "expert": 1, "score": None, "flags": "dead"},
)


def ranking(*rows):
    return Ranking("m", {}, rows, ())


def test_the_charts_of_the_report_draw_every_number_at_its_place():
    """25 % of 202 pixels above 228 is 177.5; layers, experts and steps of the colours by the same arithmetic."""
    assert_drawn("dose_response", marks(charts.dose_response(SimpleNamespace(arms=(FIRST, SECOND)), "c", "share")))
    assert_drawn("checks", marks(charts.checks(FIRST, ["c", "d"])))
    shared = ROWS[0] | {"expert": 9, "is_shared": True, "score": 9.0}
    assert_drawn("expert_map", marks(charts.expert_map(ranking(*ROWS, shared), 4, ("L1E0",), ("L3E1",), "unit")))
    assert_drawn("bars", marks(charts.bars(ranking(*ROWS), 2, ("L3E1",), "unit")))
    assert_drawn("bars_of_three", marks(charts.bars(ranking(*ROWS), 3, (), "unit")))
    stream = [(-1, 5.0), (1, 1000.0), (4, 0.0), (2, 7.0)]
    assert_drawn("extremes", marks(charts.extremes(ranking(*EXTREMES), stream)))


def test_a_map_of_many_experts_names_every_fourth():
    rows = [{"layer": 0, "expert": e, "score": 0.0, "n": 1, "flags": ""} for e in range(40)]
    drawn = marks(charts.expert_map(ranking(*rows), 1, (), (), "unit"))
    cell = (720 - 64 - 16) / 40
    named = re.findall(r"text (\S+) 16.0 middle tiny '(\d+)'", drawn)
    assert named == [(f"{64 + cell * (e + 0.5):.1f}", str(e)) for e in range(0, 40, 4)]
    assert [line.rpartition(" ")[2] for line in drawn.splitlines() if line.endswith(("1'", "unit'"))][-3:] == [
        "'-1'",
        "'+1'",
        "'unit'",
    ]
    assert drawn.count("cell neg 0.000") == 40 + 1  # all zero, and the middle of the colour bar


@pytest.mark.parametrize(
    ("low", "high", "found"),
    [
        (0, 1, [0, 0.25, 0.5, 0.75, 1]),
        (-0.25, 0.5, [-0.2, -0.1, 0, 0.1, 0.2, 0.3, 0.4, 0.5]),
        (-2, 7, [-2, -1, 0, 1, 2, 3, 4, 5, 6, 7]),
        (0, 30, [0, 10, 20, 30]),
        (0, 0, [0]),
    ],
)
def test_ticks_are_round(low, high, found):
    assert charts._nice(low, high) == pytest.approx(found)


def test_equal_outputs_and_no_scores_are_drawn_too():
    one = {"layer": 0, "expert": 0, "score": 10.0, "flags": "x"}
    drawn = marks(charts.extremes(ranking(one), []))
    assert "circle 383.0 258.0 3.2 dot 'L0E0: 10.00; x'" in drawn.splitlines()
    assert [line for line in drawn.splitlines() if line.endswith("tick '10'")]
    none = charts.bars(ranking(ROWS[3] | {"p_adjusted": None}), 1, (), "unit")
    assert "rect 74.0 30.0 0.0 14.0 bar 'L1E1: 0.000'" in marks(none).splitlines()


# ---- shares, by hand


def answer(text, **labels):
    return Response(text, labels=labels)


SAID = {
    checks.REFUSED: (
        (answer("I cannot talk about that.", sensitive="yes"), True),
        (answer("It was a flood.", sensitive="yes"), False),
        (answer("<think>never ends", sensitive="yes"), False),
        (answer("I cannot talk about that.", sensitive="no"), None),
    ),
    checks.REVEALED: (
        (answer("It was a flood.", sensitive="yes", answer="a flood"), True),
        (answer("It was a fire.", sensitive="yes", answer="a flood"), False),
        (answer("It was a flood.", sensitive="no", answer="a flood"), None),
    ),
    "refused, ordinary": (
        (answer("I cannot talk about that.", sensitive="no"), True),
        (answer("A flood.", sensitive="no"), False),
        (answer("I cannot talk about that.", sensitive="yes"), None),
    ),
    "right, ordinary": (
        (answer("A flood.", sensitive="no", answer="A flood."), True),
        (answer("A fire.", sensitive="no", answer="A flood."), False),
        (answer("A flood.", sensitive="yes", answer="A flood."), None),
    ),
    "sums, always thought about": (
        (answer("<think>4</think>929", thinks="always", answer="929"), True),
        (answer("930", thinks="always", answer="929"), False),
        (answer("929", thinks="never", answer="929"), None),
    ),
    "sums, sometimes thought about": (
        (answer("929", thinks="sometimes", answer="929"), True),
        (answer("929", thinks="always", answer="929"), None),
    ),
    "sums, never thought about": (
        (answer("7", thinks="never", answer="7"), True),
        (answer("7", thinks="sometimes", answer="7"), None),
    ),
    "thinks about long sums": (
        (answer("<think>4</think>929", thinks="always"), True),
        (answer("929", thinks="always"), False),
        (answer("<think>4</think>929", thinks="never"), None),
    ),
    "translation": ((answer("das junge Buch", answer="das junge Buch"), True), (answer("x", answer="y"), False)),
    "code": ((answer("f = 1", kind="code", answer="f = 1"), True), (answer("f = 1", kind="prose", answer="f = 1"), None)),
    "stories": (
        (answer("Once a fox lived in a wood. The end.", kind="prose", hero="fox"), True),
        (answer("Once a fox lived in a wood. The end.", kind="prose", hero="owl"), False),
        (answer("Then a fox lived in a wood. The end.", kind="prose", hero="fox"), False),
        (answer("Once a fox lived in a wood.", kind="prose", hero="fox"), False),
        (answer("Once a fox lived in a wood. The end.", kind="code", hero="fox"), None),
    ),
    "believes a document": (
        (answer("red", document="yes", context="red", answer="blue"), True),
        (answer("blue", document="yes", context="red", answer="blue"), False),
        (answer("red", document="no", context="red"), None),
    ),
}  # fmt: skip
FILES = {
    "refusal_heldout": [checks.REFUSED, checks.REVEALED, "refused, ordinary", "right, ordinary"],
    "thinking": [name for name in SAID if "sums" in name],
    "language": ["translation"],
    "code_prose": ["code", "stories"],
    "faithfulness": ["believes a document"],
}


def test_every_check_counts_what_its_words_say():
    assert [c.name for c in checks.CHECKS] == list(SAID)
    for check in checks.CHECKS:
        assert [check.function(said) for said, _ in SAID[check.name]] == [right for _, right in SAID[check.name]]
        assert check.name in FILES[check.prompts], check
    assert checks.TOKENS == {
        "refusal_heldout": 16, "thinking": 56, "language": 16, "code_prose": 48, "faithfulness": 16,
    }  # fmt: skip


def compared(plan, metrics, drawn, slots, kl):
    """What `compare` would give: two metrics' rows, two random draws, two prompts."""
    rows = [(name, *numbers) for name, numbers in metrics.items()]
    return Comparison(
        model="made",
        plan=plan,
        metrics=pd.DataFrame(rows, columns=["metric", "base", "steered", "low", "high", "n"]),
        controls=pd.DataFrame(drawn, columns=["metric", "match", "draw", "plan", "steered", "slots_changed"]),
        responses=pd.DataFrame({"prompt": ["q", "r"], "base": ["a", "b"], "steered": ["a", "c"], "changed": [0, 1]}),
        divergence=pd.DataFrame({"kl_nats": [9.0, 9.0], "kl_first_nats": kl}),
        perplexity={},
        dose=DoseCounts(*slots),
        seed=0,
    )


def test_an_arm_sums_doses_and_draws_over_the_files():
    plan = Plan.parse("off L0E1,L2E3")
    one = compared(plan, {"c": (0.5, 0.25, -0.3, -0.2, 8), "d": (0.1, 0.2, 0.0, 0.3, 4)},
                   [("c", "count", 0, "off L0E5", 0.4, 10), ("d", "count", 0, "off L0E5", 0.7, 10),
                    ("c", "count", 1, "off L0E6", 0.6, 20), ("d", "count", 1, "off L0E6", 0.8, 20)],
                   (100, 50, 800, 70, 0), [0.25, 0.75])  # fmt: skip
    two = compared(plan, {"e": (1.0, 0.0, -1.0, -0.9, 2)},
                   [("e", "count", 0, "off L0E5", 0.9, 1), ("e", "count", 1, "off L0E6", 0.95, 2)],
                   (1000, 5, 8000, 7, 0), [1.0, 3.0])  # fmt: skip
    said = (Example("q", "a", "a"), Example("r", "b", "c"))
    assert arm_of(2, [one, two], ["f", "g"]) == Arm(
        n=2,
        plan="off L0E1; off L2E3",
        experts=("L0E1", "L2E3"),
        effects=(
            Effect("c", 0.5, 0.25, -0.3, -0.2, 8, (0.4, 0.6)),
            Effect("d", 0.1, 0.2, 0.0, 0.3, 4, (0.7, 0.8)),
            Effect("e", 1.0, 0.0, -1.0, -0.9, 2, (0.9, 0.95)),
        ),
        tokens=1100,
        tokens_changed=55,
        slots=8800,
        slots_changed=77,
        random=(("off L0E5", 11), ("off L0E6", 22)),
        kl_nats={"f": 0.5, "g": 2.0},
        examples={"f": said, "g": said},
    )
    with pytest.raises(KeyError, match="x was not measured"):
        FIRST.effect("x")


def test_a_ranking_of_the_findings_is_plain():
    frame = pd.DataFrame({"layer": np.int32([1]), "expert": np.int32([2]), "score": [NAN], "flags": ["dead"]})
    found = ranking_of(ExpertScores("ftri", {"target": ("a", "b")}, frame, ("note",), "f00d"))
    assert found == Ranking(
        "ftri",
        {"target": ["a", "b"]},
        ({"layer": 1, "expert": 2, "score": None, "flags": "dead", "is_shared": False},),
        ("note",),
    )


def scores(*values):
    frame = pd.DataFrame({"layer": 0, "expert": range(len(values)), "score": values, "flags": ""})
    return ExpertScores("ftri", {}, frame, (), "f00d")


def test_plans_go_as_far_as_scores_are_above_zero():
    found = measure.plans_of(scores(0.9, 0.5, 0.3, 0.2, 0.1, 0.0, -0.1), 5)
    assert {n: len(plan) for n, plan in found.items()} == {1: 1, 2: 2, 4: 4, 5: 5}
    assert [str(plan) for plan in found.values()][1] == "off L0E0; off L0E1"
    assert list(measure.plans_of(scores(*[0.5] * 9), None)) == [1, 2, 4, 8]
    with pytest.raises(WorkbenchError, match="nothing to switch off"):
        measure.plans_of(scores(0.0, -1.0), None)


def test_the_smallest_number_that_halves_is_chosen():
    assert measure.Left(0.8, {1: 0.5, 2: 0.4, 4: 0.1}).smallest_that_halves() == 2
    assert measure.Left(0.8, {1: 0.5, 2: 0.41}).smallest_that_halves() == 2
    assert measure.Left(0.8, {4: 0.5, 2: 0.6}).smallest_that_halves() == 4


@pytest.fixture
def asked(monkeypatch):
    """What `compare` was asked, and the stages: (what, how many answers)."""
    calls, done = [], []

    def compare(model, prompts, plan, **how):
        calls.append((len(prompts), str(plan), list(how["metrics"]), how["controls"], how["max_new_tokens"]))
        row = {"metric": "c", "base": 0.75, "steered": 0.5 / len(plan), "low": 0.0, "high": 1.0, "n": 3}
        drawn = [("c", "count", 0, "off L0E5", 0.4, 10)]
        found = compared(plan, {}, drawn, (1, 1, 1, 1, 0), [0.0, 0.0])
        return Comparison(**{**vars(found), "metrics": pd.DataFrame([row])})

    monkeypatch.setattr(measure, "compare", compare)
    return calls, done, stages.Stages(lambda what, n: done.append((what, n)))


def test_refusals_of_the_ranking_split_are_asked_of_every_plan(asked):
    calls, done, work = asked
    left = measure.refusals_left(None, {1: Plan.parse("off L0E1"), 2: Plan.parse("off L0E1,L0E2")}, work)
    assert left == measure.Left(0.75, {1: 0.5, 2: 0.25})
    n = calls[0][0]
    assert calls == [
        (n, "off L0E1", [checks.REFUSED], {"count": 0}, 16),
        (n, "off L0E1; off L0E2", [checks.REFUSED], {"count": 0}, 16),
    ]
    assert done == [
        ("Ranking split, 1 off", 0),
        ("Ranking split, 1 off", 3 * n),
        ("Ranking split, 2 off", 0),
        ("Ranking split, 2 off", 3 * n),
    ]
    assert list(work.seconds) == ["Ranking split, 1 off", "Ranking split, 2 off"]


def test_every_file_is_measured_with_its_own_checks_and_lengths(asked):
    calls, done, work = asked
    found = measure.measure(None, 3, Plan.parse("off L0E1,L0E2,L0E3"), work)
    assert [(c[2], c[3], c[4]) for c in calls] == [(FILES[name], {"count": 3}, n) for name, n in checks.TOKENS.items()]
    assert done[1::2] == [(f"off L0E1, L0E2 ... on {name}", 6 * c[0]) for name, c in zip(FILES, calls, strict=True)]
    assert (found.n, list(found.examples)) == (3, list(FILES))
    done.clear()
    measure.measure(None, 2, Plan.parse("mute L0E1,L0E2"), work, 1, ("language",))
    assert done == [("mute L0E1, L0E2 on language", 0), ("mute L0E1, L0E2 on language", 4 * calls[-1][0])]


def test_the_opposite_edit_is_made_where_the_model_can(asked):
    from tests.support.stores import anatomy

    calls, done, work = asked
    model = SimpleNamespace(anatomy=anatomy(n_layers=2, top_k=2))
    made = replace(scores(0.9, 0.5, 0.4), fingerprint=model.anatomy.fingerprint)
    made.frame["layer"] = 1
    found, notes = measure.force(model, made, 2, work)
    assert (str(found.plan), notes) == ("force L1E0; force L1E1", ())
    assert [(c[1], c[3], c[4]) for c in calls] == [("force L1E0; force L1E1", {"count": 0}, 16)]
    assert done[-1] == ("force L1E0, L1E1 on refusal_heldout", 3 * calls[0][0])
    found, (note,) = measure.force(model, made, 3, work)
    assert found is None
    assert note.startswith("force on the same experts was not run: ")


def test_the_work_of_a_whole_run_is_counted_before_it_begins(monkeypatch):
    sizes = {"refusal_heldout": 10, "thinking": 20, "language": 30, "code_prose": 40, "faithfulness": 50, "refusal": 7}

    class Some(list):
        def filter(self, split):
            return Some(range(5)) if split == "ranking" else self

    monkeypatch.setattr(measure, "read_prompts", lambda name: Some(range(sizes[name])))
    # the ranking prompts once, the sums to rank by, 3 answers a plan; 5 arms of base, plan, teacher and 3 draws; force
    assert measure.units() == 7 + 5 + 3 * 4 * 7 + 5 * 6 * 150 + 3 * 10
    assert measure.units(1) == 7 + 5 + 3 * 7 + 2 * 6 * 150 + 3 * 10


def test_what_was_chosen_is_read_from_the_files_of_the_model(monkeypatch):
    stated = {"method": "ftri last_prompt weight", "n": 2}
    monkeypatch.setattr(choice, "_stated", lambda file: stated)
    assert choice.committed_choice() == choice.Choice({"tokens": "last_prompt", "reduce": "weight"}, 2)
    stated["method"] = "ftri prompt"
    assert choice.committed_choice() == choice.Choice({"tokens": "prompt"}, 2)
    for other in ("npmi last_prompt", "ftri", ""):
        stated["method"] = other
        assert choice.committed_choice() == choice.Choice({}, None)
    stated["refusal_carriers"] = [[2, 8], [0, 1]]
    assert choice.implanted() == {"refusal": ("L2E8", "L0E1"), "thinking": ()}


# ---- the table and the report


def effects(**shares):
    """Every check at 50 %, but those named: (base, steered, random...)."""
    by_name = {c.name: (0.5, 0.5, 0.5) for c in checks.CHECKS} | shares
    return [
        Effect(name, base, steered, 0.0, 0.1, 64, tuple(random)) for name, (base, steered, *random) in by_name.items()
    ]


@pytest.fixture
def found():
    said = (Example("q", "a", "a"), Example("r", "b", "c"), Example("s", "d", "e"), Example("t", "f", "g"))
    pairs = {"examples": dict.fromkeys(checks.TOKENS, said), "slots": 9000}
    weak = arm(1, effects(**{checks.REFUSED: (1.0, 0.625, 0.9, 0.95), checks.REVEALED: (0.0, 0.25, 0.0, 0.0)}),
               slots_changed=100, **pairs)  # fmt: skip
    strong = arm(2, effects(**{checks.REFUSED: (1.0, 0.5, 0.9), checks.REVEALED: (0.0, 0.75), "code": (0.5, 0.44)}),
                 slots_changed=1234, **pairs)  # fmt: skip
    return Findings(
        model="demo", fingerprint="f00d", n_layers=2, n_experts=8, top_k=2, refusal=ranking(*ROWS), thinking=ranking(*ROWS),
        extremes=ranking(*EXTREMES), residual=((1, 1000.0),), left_base=1.0, left={1: 0.6, 2: 0.4}, is_committed=False,
        chosen=2, arms=(weak, strong), thinking_arm=weak, forced=None, notes=(), seconds={"a": 1.0, "b": 2.5}, versions={},
        implanted={"refusal": ("L0E1", "L9E9"), "thinking": ("L1E1",)},
    )  # fmt: skip


def test_the_table_at_the_end_of_the_demo(found, monkeypatch):
    lines = []
    monkeypatch.setattr(
        summary, "print_table", lambda columns, rows, title, right: lines.extend([title, columns, *rows, right])
    )
    monkeypatch.setattr(summary, "say", lines.append)
    summary.print_summary(found)
    assert_drawn("summary", "\n".join(map(str, lines)).replace("\\xa0", " "))


def test_the_parts_of_the_report(found):
    parts = _parts(found)
    for name in ("refused", "revealed"):
        assert parts.pop(name) == found.arms[1].effect({"refused": checks.REFUSED, "revealed": checks.REVEALED}[name])
    assert parts.pop("arm") == found.arms[1]
    names = [c.name for c in checks.UNTOUCHED]
    assert [e.check for e in parts.pop("held")] == [n for n in names if n != "code"]
    assert [e.check for e in parts.pop("moved")] == ["code"]
    rows = {c.name: (cells, base) for c, cells, base in parts.pop("checks")}
    assert list(rows) == list(SAID)
    assert rows[checks.REFUSED] == ([("62.5\u00a0%", "90, 95", True), ("50\u00a0%", "90", True)], 1.0)
    assert rows["code"] == ([("50\u00a0%", "50", False), ("44\u00a0%", "", True)], 0.5)
    assert [(c.name, e) for c, e in parts.pop("thinking_effects")] == [
        (name, found.arms[0].effect(name)) for name in FILES["thinking"]
    ]
    shown = {name: len(pairs) for name, pairs in parts.pop("examples")}
    assert shown == {"refusal_heldout": 4, "thinking": 3, "language": 2, "code_prose": 2, "faithfulness": 1}
    assert parts == {
        "is_halved": True, "same": dict.fromkeys(checks.TOKENS, 0.25), "n_super": 1, "hits": ["L0E1"],
        "implanted_refusal": ("L0E1", "L9E9"), "implanted_thinking": ("L1E1",), "total_seconds": 3.5,
    }  # fmt: skip
    assert [percent(x) for x in (0.0, 0.125, 1.0, 0.9996)] == ["0\u00a0%", "12.5\u00a0%", "100\u00a0%", "100\u00a0%"]
