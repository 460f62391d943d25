"""Every sentence and cell that the report writes about a claim, whole, beside numbers small enough to do in the head."""

import math
from typing import Any

import pytest
from workbench_app.experiments.recipe import Claim, change, interval, level, levels, p_value, said, unit_of
from workbench_app.experiments.recipe.metric_words import Unit
from workbench_app.experiments.recipe.sections import PaperNumber
from workbench_app.experiments.report.facts import ClaimFacts, Draws, Measured
from workbench_app.experiments.report.labels import arm_label, edit_label, given
from workbench_app.experiments.report.words import (
    about_asked,
    about_dose,
    about_effect,
    about_paper,
    about_plan,
    about_random,
    cells,
)

NAN = math.nan


def plain(text: str) -> str:
    return text.replace("\u00a0", " ")


# ---- numbers of metrics


@pytest.mark.parametrize(
    ("metric", "unit"),
    [
        *((m, Unit("nats", "nats", 1.0, 3)) for m in ("nll", "kl", "kl_first", "choice_margin")),
        ("length", Unit("characters", "characters", 1.0, 1)),
        ("thinking_length", Unit("words", "words", 1.0, 1)),
        ("thought_switches", Unit("switches", "switches", 1.0, 1)),
        *((m, Unit("%", "points", 100.0, 1)) for m in ("refused", "choice", "sink_share", "own:function")),
    ],
)
def test_a_metric_has_its_unit(metric: str, unit: Unit) -> None:
    assert unit_of(metric) == unit


@pytest.mark.parametrize(
    ("metric", "words"),
    [("refused", "refusals"), ("in_german", "answers in german"), ("my_own_metric", "my own metric"), ("in", "in")],
)
def test_a_metric_has_its_words(metric: str, words: str) -> None:
    assert said(metric) == words


@pytest.mark.parametrize(
    ("value", "metric", "as_level", "as_change", "with_unit"),
    [
        (0.637, "refused", "63.7 %", "+63.7", "+63.7 points"),
        (0.38, "refused", "38 %", "+38", "+38 points"),
        (1.0, "exact", "100 %", "+100", "+100 points"),
        (-0.331, "refused", "-33.1 %", "−33.1", "−33.1 points"),
        (0.0, "refused", "0 %", "0", "0 points"),
        (-0.00004, "refused", "0 %", "0", "0 points"),
        (0.0005, "refused", "0.1 %", "+0.1", "+0.1 points"),
        (1.23449, "nll", "1.234 nats", "+1.234", "+1.234 nats"),
        (2.0, "nll", "2.000 nats", "+2.000", "+2.000 nats"),
        (-0.0004, "kl", "0 nats", "0", "0 nats"),
        (7.84, "thinking_length", "7.8 words", "+7.8", "+7.8 words"),
        (-20.0, "length", "-20 characters", "−20", "−20 characters"),
        (None, "refused", "–", "–", "–"),
        (NAN, "nll", "–", "–", "–"),
    ],
)
def test_a_value_is_written_in_its_metrics_unit(
    value: Any, metric: str, as_level: str, as_change: str, with_unit: str
) -> None:
    assert plain(level(value, metric)) == as_level
    assert change(value, metric) == as_change
    assert plain(change(value, metric, with_unit=True)) == with_unit


def test_two_values_have_their_unit_once() -> None:
    assert plain(levels(0.5, 0.123, "refused")) == "50 to 12.3 %"
    assert plain(levels(7.84, 4.0, "thinking_length")) == "7.8 to 4 words"


def test_an_interval_that_is_none_is_said() -> None:
    assert interval(-0.47, 0.2, "refused") == "[−47, +20]"
    assert interval(NAN, NAN, "refused") == "no interval"


@pytest.mark.parametrize(
    ("p", "text"),
    [(None, "–"), (NAN, "–"), (1.0, "1"), (0.9995, "1"), (0.9994, "0.999"), (0.0213, "0.021"), (0.001, "0.001"),
     (0.00099, "< 0.001"), (0.0, "< 0.001")],
)  # fmt: skip
def test_a_p_value_is_never_more_exact_than_it_is(p: float | None, text: str) -> None:
    assert p_value(p) == text


# ---- names of arms

ARM: dict[str, Any] = {"kind": "plan", "name": None, "ranking": "cats", "end": "top", "edit": "off", "value": None, "n": 2,
                       "phase": "all", "plan": "off L1E1,L1E2", "match": None, "draw": NAN}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "label"),
    [
        ({}, "off, first 2 by cats"),
        ({"kind": "base"}, "the bare model"),
        ({"kind": "random", "match": "count", "draw": 0}, "random, same number, draw 1"),
        ({"kind": "random", "match": "layer", "draw": 4.0}, "random, same layers, draw 5"),
        ({"kind": "random", "match": "usage", "draw": 9, "name": "x"}, "random, used as often, draw 10"),
        ({"kind": "bottom"}, "off, the other end's 2 by cats"),
        ({"end": "bottom", "n": 3.0}, "off, last 3 by cats"),
        ({"end": "top+bottom", "edit": "force+off", "n": 5}, "force+off, first and last 5 by cats"),
        ({"edit": "scale", "value": "64"}, "scale 64, first 2 by cats"),
        ({"phase": "prompt"}, "off, first 2 by cats, prompt tokens only"),
        ({"phase": None}, "off, first 2 by cats"),
        ({"ranking": None}, "off L1E1,L1E2"),
        ({"ranking": NAN, "name": NAN}, "off L1E1,L1E2"),
        ({"name": "both"}, "both (n = 2)"),
        ({"name": "both", "kind": "bottom"}, "both (n = 2, the other end)"),
        ({"name": "one", "n": None}, "one"),
        ({"name": "one", "n": NAN, "kind": "bottom"}, "one, the other end"),
    ],
)
def test_an_arm_is_named_by_what_it_does_to_whom(changes: dict[str, Any], label: str) -> None:
    assert arm_label(ARM | changes) == label


def test_a_cell_holds_something_or_nothing() -> None:
    assert [given(v) for v in (None, NAN, 0, "", "x")] == [False, False, True, True, True]
    assert edit_label(ARM | {"edit": "replace", "value": "mean"}) == "replace mean"


# ---- a claim's sentences

PLAN = Measured("off, first 2 by cats", "off L1E1,L1E2", 0.637, 0.274, -0.363, -0.481, -0.242)


def drawn(*differences: float) -> tuple[Measured, ...]:
    return tuple(Measured("r", "off L0E0", 0.5, 0.5 + d, d, d, d) for d in differences)


def facts(metric: str = "refused", paper: Any = None, direction: Any = "down", **changes: Any) -> ClaimFacts:
    claim = Claim(name="c", text="t", prompts="held", metric=metric, direction=direction, paper=paper)
    row = {"p_adjusted": 0.0213, "why": "it was not measured", "random_low": -0.02, "random_high": 0.031, "n_draws": 3}
    whole = ClaimFacts(
        claim,
        row,
        ARM,
        {"n": 64, "n_clusters": 17},
        PLAN,
        (Draws("random, same number", drawn(0.031, NAN, -0.02)), Draws("random, same layers", drawn(0.004))),
        Measured("", "off L0E9", 0.637, 0.66, 0.023, -0.011, 0.057),
        (),
        None,
        0.05,
        {"tokens": 4321, "tokens_changed": 1234, "slots": 8642, "slots_changed": 2468},
    )
    return whole._replace(**changes)


EFFECT = "63.7 % without the plan, 27.4 % with it; a change of −36.3 points, 95 % interval [−48.1, −24.2]"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (facts(), f"Refusals (held, 64 prompts in 17 clusters): {EFFECT}, p = 0.021 corrected over all plans. That is 57 % fewer "
         "than before."),
        (facts(effect={"n": 64, "n_clusters": 64}, row={"p_adjusted": 0.0002}),
         f"Refusals (held, 64 prompts): {EFFECT}, p < 0.001 corrected over all plans. That is 57 % fewer than before."),
        (facts(row={"p_adjusted": NAN}, direction="none"), f"Refusals (held, 64 prompts in 17 clusters): {EFFECT}."),
        (facts(plan=None), "Not measured: it was not measured."),
        (facts(arm=None), "Not measured: it was not measured."),
        (facts(plan=PLAN._replace(base=0.5, steered=0.505, difference=0.005, low=-0.01, high=0.02)),
         "Refusals (held, 64 prompts in 17 clusters): 50 % without the plan, 50.5 % with it; a change of +0.5 points, 95 % "
         "interval [−1, +2], p = 0.021 corrected over all plans. That is 1 % more than before."),
        (facts(plan=PLAN._replace(base=0.0, steered=0.25, difference=0.25, low=NAN, high=NAN)),
         "Refusals (held, 64 prompts in 17 clusters): 0 % without the plan, 25 % with it; a change of +25 points, 95 % interval "
         "no interval, p = 0.021 corrected over all plans."),
        (facts("nll", plan=PLAN._replace(base=2.0, steered=3.0, difference=1.0, low=0.5, high=1.5)),
         "Loss per token of given text (held, 64 prompts in 17 clusters): 2.000 nats without the plan, 3.000 nats with it; a "
         "change of +1.000 nats, 95 % interval [+0.500, +1.500], p = 0.021 corrected over all plans. As perplexity: 7.389 to "
         "20.09."),
    ],
)  # fmt: skip
def test_the_effect_in_one_sentence(given: ClaimFacts, words: str) -> None:
    assert plain(about_effect(given)) == words


def test_the_plan_in_one_line() -> None:
    assert about_plan(facts()) == "off, first 2 by cats: off L1E1,L1E2"
    assert about_plan(facts(arm=None)) == ""


def test_random_experts_and_the_other_end_in_one_sentence() -> None:
    other = " The other end of the ranking: +2.3 [−1.1, +5.7]."
    draws = "3 draws of as many random experts: −2 to +3.1 points, median +0.4."
    assert plain(about_random(facts())) == draws + other
    assert plain(about_random(facts(bottom=None))) == draws
    assert plain(about_random(facts(draws=()))) == "No random experts were drawn." + other
    assert about_random(facts(draws=(Draws("x", drawn(NAN)),), bottom=None)) == "No random experts were drawn."
    assert about_random(facts(plan=None)) == ""


@pytest.mark.parametrize(
    ("paper", "moved", "words"),
    [
        (None, None, "No number of the paper stands beside this: the claim is ours."),
        (PaperNumber(what="refusals", model="R1", base=0.9, steered=0.53, grade="abstract"), -0.37,
         "R1: refusals, 90 % to 53 % (−37 points) [abstract]."),
        (PaperNumber(what="refusals", base=1.0, steered=0.6, relative=True), -0.2, "refusals (−20 points of our base)."),
        (PaperNumber(what="refusals", steered=0.5), None, "refusals."),
        (PaperNumber(what="refusals", base=0.5), None, "refusals."),
    ],
)  # fmt: skip
def test_the_paper_in_one_sentence(paper: Any, moved: float | None, words: str) -> None:
    assert plain(about_paper(facts(paper=paper, paper_change=moved))) == words


def test_the_dose_in_one_sentence() -> None:
    assert about_dose(facts()) == "1,234 of 4,321 tokens and 2,468 of 8,642 expert slots changed."
    none = {"tokens": 4321, "tokens_changed": 0, "slots": 8642, "slots_changed": 0}
    assert about_dose(facts(dose=none)) == (
        "0 of 4,321 tokens and 0 of 8,642 expert slots changed. The plan changed nothing: no token met it."
    )
    assert about_dose(facts(dose=None)) == ""
    assert about_dose(facts(dose={**none, "tokens": None})) == ""


def test_what_was_asked_for_in_half_a_sentence() -> None:
    assert plain(about_asked(facts(at_least=0.185))) == (
        "claimed to fall; a change of 18.5 points or more is what the claim is about"
    )
    assert plain(about_asked(facts("length", direction="up", at_least=20.0))) == (
        "claimed to rise; a change of 20 characters or more is what the claim is about"
    )
    assert plain(about_asked(facts(direction="none"))) == "claimed to stay within ±5 points"


def test_the_cells_of_the_table_of_answers() -> None:
    found = {key: plain(text) for key, text in cells(facts(paper_change=-0.37)).items()}
    assert found == {
        "change": "−36.3",
        "levels": "63.7 to 27.4 %",
        "interval": "[−48.1, −24.2]",
        "random": "−2 to +3.1",
        "paper": "−37",
    }
    alone = facts(row={"n_draws": 0, "random_low": NAN, "random_high": NAN})
    assert (cells(alone)["random"], cells(alone)["paper"]) == ("–", "–")
    nothing = {"change": "–", "levels": "", "interval": "–", "random": "–", "paper": "−37"}
    assert cells(facts(plan=None, paper_change=-0.37)) == nothing
