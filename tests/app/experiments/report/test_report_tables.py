"""The report's tables, whole, out of a made-up run on two models: what one model says never stands in the other's table."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from workbench_app.experiments.recipe import Recipe
from workbench_app.experiments.report.effect_tables import (
    Block,
    Row,
    all_effects,
    answer_pairs,
    claimed_arms,
    doses,
    unchanged,
)
from workbench_app.experiments.report.examples import examples
from workbench_app.experiments.report.expert_tables import ranking_table, references, sinks
from workbench_app.experiments.report.facts import Tables

from tests.app.experiments.report.two_models import MODELS, recipe_of_two
from tests.app.experiments.runs import RECIPE, made_recipe


def cells(block: Block) -> list[tuple[str, ...]]:
    return [tuple(cell.replace("\u00a0", " ") for cell in row.cells) for row in block.rows]


def test_what_did_not_change_stands_with_its_word(facts: Any, tables: Tables) -> None:
    other, some = unchanged(facts, tables)
    assert (some.title, some.words) == ("off, first 2 by fTRI", "Within 5 points: sums (exactly right answers).")
    assert some.heads == ("capability", "base", "steered", "change", "95 % interval", "random draws", "")
    assert cells(some) == [
        ("sums (exactly right answers)", "91.3 %", "90.4 %", "−0.9", "[−3.1, +1.3]", "−4.1 to +2.7", "within 5 points")
    ]
    assert [row.mark for row in some.rows] == ["within"]
    assert cells(other) == [
        ("sums (exactly right answers)", "36.5 %", "36.2 %", "−0.4", "[−1.2, +0.5]", "−1.6 to +1.1", "within 5 points")
    ]
    moved = {**tables, "effects": tables["effects"].assign(low=-0.2, high=-0.1, metric="length")}
    moved["effects"].loc[moved["effects"]["arm"] != "P02", "difference"] = float("nan")
    block = unchanged(facts[-1:], moved)[0]
    assert block.words == "Moved: sums (length of the answer)."
    assert block.rows[0].mark == "moved"
    assert block.rows[0].cells[5] == "–"
    unclear = {**tables, "effects": tables["effects"].assign(low=-0.2, high=0.1)}
    assert unchanged(facts[-1:], unclear)[0].words == "Cannot tell: sums (exactly right answers)."
    assert unchanged(facts, {**tables, "effects": tables["effects"].assign(role="target")}) == []


def test_every_plan_stands_beside_the_medians_of_its_draws(tables: Tables) -> None:
    held, sums, other, _ = all_effects(tables)
    assert held.title == "held: refusals, %"
    assert held.words == "some/model; 64 prompts."
    assert held.heads == ("plan", "base", "steered", "change", "95 % interval", "p", "random", "beats")
    plan = ("63.7 %", "27.4 %", "−36.3", "[−48.1, −24.2]", "0.021", "+1.2, +1.2, +1.2", "100 %")
    end = ("63.7 %", "66 %", "+2.3", "[−1.1, +5.7]", "–", "–", "–")
    assert cells(held) == [
        ("off, first 1 by fTRI", *plan),
        ("off, the other end's 1 by fTRI", *end),
        ("off, first 2 by fTRI", *plan),
        ("off, the other end's 2 by fTRI", *end),
    ]
    assert (sums.title, len(sums.rows)) == ("sums: exactly right answers, %", 2)
    assert other.words == "other/brand; 40 to 41 prompts."
    assert cells(other)[0] == (
        "off, first 1 by fTRI", "25.5 %", "11 %", "−14.5", "[−19.2, −9.7]", "0.500", "+0.5, +25, +12.5", "25 %",
    )  # fmt: skip


def test_the_dose_of_every_claimed_plan(facts: Any, tables: Tables) -> None:
    found = doses(facts, tables)
    assert (found.title, found.words) == (
        "The dose", "What the plans really changed. KL is to the bare model, mean over prompts, in nats.",
    )  # fmt: skip
    assert found.heads == (
        "plan and prompts",
        "tokens changed",
        "slots changed",
        "KL, first token",
        "KL, answer",
        "same answers",
    )
    assert cells(found) == [
        ("off, first 2 by fTRI; held", "0 of 1,000", "7 of 3,000", "–", "1.500", "0 of 3"),
        ("off, first 2 by fTRI; held", "1,234 of 4,321", "2,468 of 8,642", "0.200", "0.321", "2 of 3"),
    ]
    bare = {**tables, "answers": tables["answers"].iloc[:0], "distributions": tables["distributions"].iloc[:0]}
    assert [row[3:] for row in cells(doses(facts, bare))] == [("–", "–", "–")] * 2
    assert [arm["model"] for arm in claimed_arms(facts)] == ["other/brand", "some/model"]
    assert claimed_arms([f._replace(arm=None) for f in facts]) == []


def test_changed_answers_are_the_first_five_of_each_claimed_plan(facts: Any, tables: Tables) -> None:
    rows = [
        {
            "model": m,
            "arm": arm,
            "prompts": "held",
            "prompt_id": f"p{i}",
            "prompt": f"q{i}",
            "answer": f"{arm} {i}" if i != 2 else "same",
        }
        for m in MODELS
        for arm in ("base", "P02", "P01")
        for i in range(8)
        if (m, arm, i) != (MODELS[1], "base", 0)
    ]
    more = {**tables, "answers": pd.DataFrame(rows)}
    assert answer_pairs(more, MODELS[1], "P02", "held")[:2] == [("q1", "base 1", "P02 1"), ("q2", "same", "same")]
    found = examples(facts, more)
    assert [(e.title, e.words) for e in found] == [
        ("off, first 2 by fTRI, on held", "6 of 7 answers changed; the first 5."),
        ("off, first 2 by fTRI, on held", "7 of 8 answers changed; the first 5."),
    ]
    assert found[1].pairs == tuple((f"q{i}", f"base {i}", f"P02 {i}") for i in (0, 1, 3, 4, 5))
    same = {**tables, "answers": pd.DataFrame(rows).assign(answer="same")}
    assert [(e.words, e.pairs) for e in examples(facts, same)] == [
        ("0 of 7 answers changed.", ()),
        ("0 of 8 answers changed.", ()),
    ]
    assert examples([f._replace(arm=None) for f in facts], more) == []


def rankings(recipe: Recipe, tables: Tables, tuned: Mapping[str, Sequence[str]]) -> list[Block]:
    """A table for each ranking of each model."""
    named = {r.name: r for r in recipe.rankings}
    groups: list[tuple[Any, Any]] = list(tables["scores"].groupby(["model", "ranking"], sort=False))
    return [ranking_table(named.get(key[1]), key, part.sort_values("rank"), tuned) for key, part in groups]


def test_the_first_experts_of_every_ranking(tables: Tables) -> None:
    options = [{**RECIPE["rankings"][0], "options": {"target": "yes", "seed": 3}}]
    made = made_recipe(models=[*MODELS], rankings=options)
    row = {"model": MODELS[0], "ranking": "long", "layer": 2, "n": 1234, "flags": "dead", "low": -0.25, "high": 0.125}
    many = [row | {"rank": r, "expert": r, "score": -0.000012345 * r} for r in range(9, 0, -1)]
    one, other, long = rankings(
        made,
        {"scores": pd.concat([tables["scores"], pd.DataFrame(many)])},
        {"refusal": ("L1E3", "L1E2"), "thinking": ("L1E3",)},
    )
    assert (one.title, one.words) == ("fTRI", "some/model; the first 3 of 3 experts by ftri (target=yes, seed=3).")
    assert one.heads == ("expert", "score", "95 % interval", "n", "p", "flags")
    tuned = ("tuned in training: refusal; tuned in training: thinking", "", "tuned in training: refusal")
    assert cells(one) == [
        (f"L1E{e}", score, "[0.1, 0.6]", str(71 + i), "0.047", known)
        for i, (e, score, known) in enumerate(zip((3, 1, 2), ("0.4269", "0.3538", "0.2807"), tuned, strict=True))
    ]
    assert cells(other)[0] == ("L1S3", "−0.4269", "[0.1, 0.6]", "71", "0.047", "")
    assert (long.title, long.words) == ("long", "some/model; the first 8 of 9 experts by .")
    assert cells(long)[0] == ("L2E1", "−1.234e−05", "[−0.25, 0.125]", "1,234", "–", "dead")
    assert [row.cells[0] for row in long.rows] == [f"L2E{e}" for e in range(1, 9)]
    plain = rankings(recipe_of_two(), {"scores": tables["scores"].assign(low=None, high=None)}, {})[0]
    assert plain.words == "some/model; the first 3 of 3 experts by ftri."
    assert [row.cells[2] for row in plain.rows] == ["–"] * 3


def test_attention_sinks_beside_the_random_draws_of_their_own_plan(tables: Tables) -> None:
    some, other = sinks(tables)
    assert (some.title, some.words) == ("off, first 2 by fTRI", "0: the sink is what it was; 1: it is gone.")
    assert some.heads == ("layer", "share, base", "share, steered", "decay", "decay under random draws")
    assert cells(some) == [
        ("0", "41.0 %", "17.3 %", "0.578", "−0.125 to 0.500"),
        ("1", "25.0 %", "30.0 %", "−0.200", "–"),
    ]
    assert cells(other) == [
        ("0", "16.4 %", "6.9 %", "0.231", "−0.050 to 0.200"),
        ("1", "10.0 %", "12.0 %", "−0.080", "–"),
    ]
    assert sinks({**tables, "sinks": tables["sinks"].iloc[:0]}) == []
    alone = sinks({**tables, "sinks": tables["sinks"].query("arm != 'base' and model == 'some/model'")})
    assert alone[0].rows[0].cells[1] == "–"


def test_the_papers_values_stand_beside_those_of_the_papers_model(tables: Tables) -> None:
    some, other, third = references(
        made_recipe(
            references=[
                {
                    "model": "hub/Some/MODEL/",
                    "expert": "L1E1",
                    "value": -744.25,
                    "what": "largest",
                    "ranking": "fTRI",
                    "source": "Table 2",
                },
                {"model": "other/brand", "expert": "L1S2", "value": 0.5, "what": "any"},
                {"model": "third", "expert": "L1E1", "value": 2.0, "what": "none"},
                {"model": "other/brand", "expert": "L1E2", "value": 0.25, "what": "routed"},
            ]
        ),
        tables,
    )
    assert some == Block(
        "hub/Some/MODEL/", "", ("expert", "what", "paper", "here", "our rank", "known from"),
        (Row(("L1E1", "largest", "−744.2", "0.3538", "2", "Table 2")),),
    )  # fmt: skip
    assert (other.words, cells(other)) == (
        "", [("L1S2", "any", "0.5", "−0.2807", "3", ""), ("L1E2", "routed", "0.25", "–", "–", "")],
    )  # fmt: skip
    assert third.words == 'Not run here; with models = ["third"] our values stand beside these.'
    assert cells(third) == [("L1E1", "none", "2", "–", "–", "")]
