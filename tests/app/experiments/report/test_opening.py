"""What a report begins with, and what a terminal shows of it: out of a made-up run whose numbers are worked out by hand."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from workbench_app.experiments.recipe import Recipe
from workbench_app.experiments.report import summaries
from workbench_app.experiments.report.facts import claim_facts
from workbench_app.experiments.report.headline import Dose, Headline, headlines
from workbench_app.experiments.report.opening import chosen_how, dose, opening, spread, tiles, what_moved
from workbench_app.experiments.report.report import render, with_claims

from tests.app.experiments.runs import RECIPE, made_recipe, made_tables

OWN = {
    "metrics": {"sums right": {"metric": "exact", "words": "short sums, exactly"}},
    "prompts": {
        **RECIPE["prompts"],
        "again": {"source": "refusal", "role": "choosing", "metrics": ["refused"]},
        "sums": {"source": "thinking", "role": "capability", "metrics": ["sums right"]},
    },
    "claims": [RECIPE["claims"][0], {**RECIPE["claims"][1], "metric": "sums right"}],
    "choice": {"claim": "falls", "prompts": "again", "metric": "refused", "when": "last year"},
}


def plain(text: str) -> str:
    return text.replace("\u00a0", " ")


@pytest.fixture
def recipe() -> Recipe:
    return made_recipe(**OWN)


@pytest.fixture
def tables(tmp_path: Path, recipe: Recipe) -> dict[str, Any]:
    """The made run: sums by the recipe's own metric, two of its draws on them, and refusals of the ranking prompts."""
    found = made_tables(tmp_path / "run")
    effects = found["effects"]
    effects.loc[effects["metric"] == "exact", "metric"] = "sums right"
    drawn = {"prompts": "sums", "role": "capability", "metric": "sums right", "base": 0.913, "model": "some/model"}
    rows = [{**drawn, "arm": f"P02.count.{i}", "steered": level, "n": 64} for i, level in enumerate((0.8, 0.95))]
    chosen = {"prompts": "again", "role": "choosing", "metric": "refused", "base": 0.9, "model": "some/model"}
    rows += [{**chosen, "arm": f"P0{n}", "steered": level, "n": 72} for n, level in ((1, 0.6), (2, 0.15))]
    found["effects"] = pd.concat([effects, pd.DataFrame(rows)], ignore_index=True)
    doses = {"model": "some/model", "tokens": 100, "tokens_changed": 10, "slots": 1000}
    found["doses"] = pd.DataFrame(
        [
            {**doses, "arm": "P02", "prompts": p, "slots_changed": n}
            for p, n in (("held", 30), ("sums", 4), ("again", 500))
        ]
        + [{**doses, "arm": "P02.count.0", "prompts": p, "slots_changed": n} for p, n in (("held", 50), ("sums", 6))]
        + [{**doses, "arm": "P02.count.1", "prompts": "held", "slots_changed": 70}]
    )
    return with_claims(recipe, found)


@pytest.fixture
def headline(recipe: Recipe, tables: dict[str, Any]) -> Headline:
    (found,) = headlines(recipe, claim_facts(recipe, tables), tables)
    return found


def test_the_headline_is_the_first_claims_plan_with_its_neighbours(headline: Headline) -> None:
    assert (headline.model, headline.axis, headline.labels, headline.chosen) == ("some/model", "experts", ("1", "2"), 1)
    assert (headline.arm["arm"], [a["arm"] for a in headline.arms]) == ("P02", ["P01", "P02"])
    refused, right = headline.checks
    assert (refused.name, refused.words, refused.role, refused.n) == ("held (refusals)", "", "target", 64)
    assert (refused.base, refused.levels) == (0.637, (0.274, 0.274))
    assert [len(levels) for levels in refused.draws] == [9, 9]
    assert (right.name, right.words, right.prompts) == ("sums right", "short sums, exactly", "sums")
    assert (right.role, right.levels, right.draws) == ("capability", (0.904, 0.904), ((), (0.8, 0.95)))
    # what plans were chosen on counts nowhere; the second draw was not measured on the sums
    assert headline.doses == (Dose(0, 0, 0, 0, ()), Dose(20, 200, 34, 2000, (56,)))


def test_targets_come_first(tables: dict[str, Any]) -> None:
    turned = made_recipe(**{**OWN, "prompts": dict(reversed(OWN["prompts"].items()))})
    (found,) = headlines(turned, claim_facts(turned, tables), tables)
    assert [check.role for check in found.checks] == ["target", "capability"]


def test_a_share_moves_by_more_than_five_points(headline: Headline) -> None:
    right = headline.checks[1]
    for level, moved in ((0.863, False), (0.8629, True), (0.963, False), (0.9631, True)):
        assert right._replace(levels=(level, level)).moved(1) == moved
    assert not right._replace(metric="length", levels=(9.0, 9.0)).moved(1)
    assert headline.others() == [right]
    assert headline._replace(checks=(right._replace(metric="length"),)).others() == []


def test_tiles_tell_the_first_claim_its_draws_and_how_many_others_held(
    recipe: Recipe, tables: dict[str, Any], headline: Headline
) -> None:
    facts = claim_facts(recipe, tables)
    one, draws, two, held = tiles(recipe, headline, facts)
    assert (plain(one.number), one.words) == (
        "63.7 → 27.4 %", "refusals on held: of 64 held-out prompts, under the plan off, first 2 by fTRI",
    )  # fmt: skip
    assert (plain(draws.number), draws.words) == (
        "64 to 66 %",
        "the same with as many random experts instead (9 draws)",
    )
    assert (plain(two.number), two.words) == (
        "91.3 → 90.4 %", "short sums, exactly: of 64 held-out prompts, under the plan off, first 2 by fTRI",
    )  # fmt: skip
    assert (held.number, held.words) == ("1 of 1", "other checks moved by at most 5 points")
    moved = headline._replace(checks=(headline.checks[1]._replace(levels=(0.9, 0.7)),))
    assert tiles(recipe, moved, facts)[-1].number == "0 of 1"
    assert [tile.number for tile in tiles(recipe, headline._replace(checks=()), facts)] == [
        tile.number for tile in (one, draws, two)
    ]


def test_draws_are_listed_where_they_are_few() -> None:
    assert plain(spread([0.484, 0.359, 0.375], "refused")) == "48, 36, 38 %"
    assert plain(spread([0.1] * 5, "refused")) == "10, 10, 10, 10, 10 %"
    assert plain(spread([0.3, 0.1, 0.2, 0.5, 0.4, 0.25], "refused")) == "10 to 50 %"
    assert plain(spread([12.04, 7.5], "thinking_length")) == "12, 7.5 words"


def test_what_moved_and_what_did_not_is_said_with_levels(headline: Headline) -> None:
    right = headline.checks[1]
    assert plain(what_moved(headline)) == "Moved by at most 5 points: sums right (91.3 to 90.4 %)."
    both = headline._replace(checks=(right, right._replace(name="other", levels=(0.9, 0.5))))
    assert plain(what_moved(both)) == (
        "Moved by at most 5 points: sums right (91.3 to 90.4 %). Moved by more: other (91.3 to 50 %)."
    )
    assert what_moved(headline._replace(checks=())) == ""


def test_the_dose_of_the_plan_and_of_its_draws(headline: Headline) -> None:
    text = "off, first 2 by fTRI: 20 of 200 tokens and 34 of 2,000 expert slots were really changed over all held-out prompts"
    assert dose(headline) == f"{text}; random draws changed 56 slots."
    found = headline.doses[1]
    assert dose(headline._replace(doses=(found, found._replace(draws=())))) == f"{text}."
    six = found._replace(draws=(9, 3, 4, 5, 6, 1234))
    assert dose(headline._replace(doses=(found, six))) == f"{text}; random draws changed 3 to 1,234 slots."


def test_on_what_the_plan_was_chosen_is_told_with_every_candidate(recipe: Recipe, tables: dict[str, Any]) -> None:
    assert list(map(plain, chosen_how(recipe, tables))) == [
        "The plan (off, first 2 by fTRI) was chosen last year on refusal, on which no claim is measured. Refusals there: 90 % "
        "without a plan, 60 % with 1, 15 % with 2 experts."
    ]
    assert chosen_how(made_recipe(), tables) == []
    undated = recipe.model_copy(update={"choice": recipe.choice and recipe.choice.model_copy(update={"when": ""})})
    assert "was chosen on refusal," in chosen_how(undated, tables)[0]


def test_the_table_of_checks_has_every_plan(recipe: Recipe, tables: dict[str, Any], headline: Headline) -> None:
    made = opening(recipe, headline, claim_facts(recipe, tables))
    (_, base, cells), (_, _, sums) = made.rows
    assert plain(base) == "63.7 %"
    assert [(plain(c.level), plain(c.random), c.moved) for c in cells] == [("27.4 %", "64 to 66 %", True)] * 2
    assert [(plain(c.level), plain(c.random), c.moved) for c in sums] == [
        ("90.4 %", "", False), ("90.4 %", "80, 95 %", False),
    ]  # fmt: skip
    assert made.figure.count('class="hollow"') == 2


def test_a_terminal_shows_the_same(recipe: Recipe, tables: dict[str, Any]) -> None:
    (found,) = summaries(recipe, tables)
    assert (found.model, found.arm) == ("some/model", "P02")
    targets, others = found.tables
    assert targets.title == "some/model, held-out prompts: off, by experts"
    assert targets.columns == ("experts", "which", "held (refusals)", "random draws", "slots changed")
    assert [tuple(map(plain, r)) for r in targets.rows] == [
        ("without", "", "63.7 %", "", ""),
        ("1", "", "27.4 %", "64 to 66 %", ""),
        ("2", "", "27.4 %", "64 to 66 %", "34 of 2,000"),
    ]
    assert (targets.right, others.right) == (("experts",), ("without", "experts 2"))
    assert others.title == "What else moved with off, first 2 by fTRI"
    assert others.columns == ("check", "without", "experts 2", "random draws", "")
    assert [tuple(map(plain, r)) for r in others.rows] == [("sums right", "91.3 %", "90.4 %", "80, 95 %", "")]


def test_the_page_holds_all_of_it_once(recipe: Recipe, tables: dict[str, Any]) -> None:
    about = {"models": [{"model": "some/model", "shape": "2 routed experts"}]}
    page = plain(render(recipe, tables, about)).replace("&nbsp;", " ")
    assert "<code>some/model</code> (2 routed experts)" in page
    for once in (
        "63.7 → 27.4 %",
        "was chosen last year",
        "34 of 2,000 expert slots",
        "Before and after",
        "Every check",
    ):
        assert page.count(once) == 1, once
    assert "again" not in page.split("The dose</h2>")[1].split("Changed answers</h2>")[0]
    assert "no ranking has seen." in page
    kept = recipe.model_copy(
        update={"prompts": recipe.prompts | {"sums": recipe.prompts["sums"].model_copy(update={"unseen": "keep"})}}
    )
    assert "no ranking has seen (but for some of sums: see the notes)." in render(kept, tables, {})
    assert "<th>paper</th>" in page
    without = made_recipe(**{**OWN, "claims": [{k: v for k, v in c.items() if k != "paper"} for c in OWN["claims"]]})
    page = render(without.model_copy(update={"paper": None}), tables, {}).split("The experts</h2>")[0]
    assert "<th>paper</th>" not in page
    assert "<b>Paper.</b>" not in page
