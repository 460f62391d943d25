"""The report: made from findings alone, escaped, one file. The findings here are made up, and every number is a sentinel."""

import re
from dataclasses import replace

import pytest
from workbench_app import charts
from workbench_app.checks import CHECKS, REFUSED, REVEALED
from workbench_app.findings import Arm, Effect, Example, Findings, Ranking
from workbench_app.report import examples, moved, render

ATTACK = '<script>alert(1)</script>" onload="x [bold]'
FILES = ("refusal_heldout", "thinking", "language", "code_prose", "faithfulness")


def effect(check: str, base: float, steered: float, random: tuple[float, ...] = (0.9, 0.8, 0.7)) -> Effect:
    return Effect(check, base, steered, steered - base - 0.05, steered - base + 0.05, 64, random)


def arm(n: int, **steered: float) -> Arm:
    shares = {c.name: effect(c.name, 0.5, 0.5) for c in CHECKS}
    shares[REFUSED] = effect(REFUSED, 0.973, steered.get("refused", 0.137))
    shares[REVEALED] = effect(REVEALED, 0.011, steered.get("revealed", 0.719))
    said = {name: (Example(ATTACK, ATTACK, f"answer {n}"), Example("q", "same", "same")) for name in FILES}
    random = tuple((f"off L3E{i}", 4321 + i) for i in range(3))
    plan = "; ".join(f"off L0E{i}" for i in range(n))
    names = tuple(f"L0E{i}" for i in range(n))
    kl = dict.fromkeys(FILES, 0.123)
    return Arm(n, plan, names, tuple(shares.values()), 7777, 6543, 88888, 23456, random, kl, said)


def ranking(method: str) -> Ranking:
    rows = [
        {"layer": i, "expert": e, "score": 0.05 - 0.01 * e, "n": 100 + e, "low": 0.0, "high": 0.06, "p": 0.5}
        | {"p_adjusted": 0.031, "flags": "super expert" if method == "super_experts" and e == 2 else ""}
        for i in range(2)
        for e in range(4)
    ]
    rows[-1] |= {"score": None, "low": None, "high": None, "p_adjusted": None, "flags": "dead"}
    return Ranking(
        method, {"tokens": "prompt"}, tuple(sorted(rows, key=lambda r: -(r["score"] or -1))), (f"note of {method}",)
    )


@pytest.fixture
def found() -> Findings:
    return Findings(
        model="demo", fingerprint="f00d", n_layers=2, n_experts=8, top_k=2, refusal=ranking("ftri"), thinking=ranking("npmi"),
        extremes=ranking("super_experts"), residual=((-1, 3.0), (0, 20.0), (1, 2000.0)), left_base=0.981,
        left={1: 0.611, 2: 0.222}, is_committed=False, chosen=2, arms=(arm(1, refused=0.613), arm(2)), thinking_arm=arm(4),
        forced=None, notes=("force was not run: too many.",), seconds={"all": 61.0},
        versions={"torch": "9.9", "transformers": "8.8"},
        implanted={"refusal": ("L0E0",), "thinking": ("L1E1",)},
    )  # fmt: skip


def test_every_number_comes_from_the_findings(found):
    page = render(found).replace("\u00a0", " ")
    for shown in (
        "97.3 %",
        "13.7 %",
        "71.9 %",
        "61.3 %",
        "98.1 %",
        "22.2 %",
        "6,543",
        "23,456",
        "4,321",
        "0.123",
        "f00d",
        "61 s",
    ):
        assert shown in page, shown
    changed = render(replace(found, arms=(arm(1), arm(2, refused=0.424)))).replace("\u00a0", " ")
    assert "42.4 %" in changed
    assert "13.7 %" not in changed.split("Refusals, and what they withheld")[0].split("</h1>")[1].replace(
        "13.7 %", "", 0
    )


def test_the_verdict_follows_the_numbers(found):
    assert "at least halved</b>" not in render(found)
    assert "off at least halved their refusals" in " ".join(render(found).split())
    weak = replace(found, arms=(arm(1), arm(2, refused=0.9)))
    assert "off did not halve their refusals" in " ".join(render(weak).split())
    none = replace(found, left={1: 0.9, 2: 0.8})
    assert "the largest number tried, as none halved refusals" in render(none)


def test_text_of_the_model_is_never_interpreted(found):
    page = render(found)
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert 'onload="x' not in page


def test_it_is_one_file_that_asks_for_nothing(found):
    page = render(found)
    assert not re.search(r"(?:src|href)\s*=|@import|url\(|https?://", page)
    assert len(page.encode()) < 6_000_000


def test_every_chart_has_a_label_and_units(found):
    page = render(found)
    drawn = re.findall(r"<svg.*?</svg>", page, re.S)
    assert len(drawn) == 6
    assert all('aria-label="' in svg for svg in drawn)
    units = (
        "of held-out",
        "of held-out",
        "share of held-out prompts",
        "share of tokens",
        "nPMI",
        "units of the residual stream",
    )
    assert all(unit in svg for unit, svg in zip(units, drawn, strict=True))
    assert "prefers-color-scheme: dark" in page


def test_random_draws_are_all_drawn_and_marked_by_shape(found):
    svg = charts.dose_response(found, REFUSED, "share")
    assert svg.count('class="random"') == 2 * 3
    assert svg.count("<polygon") == 2 * 3
    assert svg.count('class="plan"') == 2


def test_the_map_frames_what_was_tuned_and_marks_what_was_switched_off(found):
    svg = charts.expert_map(found.refusal, 2, ("L0E0", "L1E1"), ("L0E0",), "share")
    assert svg.count('class="mark"') == 2
    assert svg.count('class="frame"') == 1
    assert svg.count('class="cell nothing"') == 1  # the expert that was never selected
    assert "L1E3: never selected" in svg


def test_unchanged_means_within_five_points():
    assert not moved(effect("x", 0.95, 0.90))
    assert moved(effect("x", 0.95, 0.89))
    assert moved(effect("x", 0.90, 0.96))


def test_examples_are_the_first_of_each_file(found):
    shown = dict(examples(found.arms[1]))
    assert set(shown) == set(FILES)
    assert shown["language"] == list(found.arms[1].examples["language"][:2])
