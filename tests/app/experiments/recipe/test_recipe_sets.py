"""A recipe's prompt sets and its statistics at their edges: whole sentences, and p-values that are counted here."""

import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from workbench_app.experiments.recipe import Recipe, Statistics, read_sets, recipe_from
from workbench_app.experiments.recipe.prompt_sets import held_apart
from workbench_app.experiments.tables.effects import Paired, effects_table, sign_flips, sign_patterns

from tests.support.recipes import recipe_data, write_prompts
from tests.support.refusals import refused
from workbench import PromptSet
from workbench.prompts import Prompt

NAN = float("nan")


def recipe(folder: Path, **held: Any) -> Recipe:
    data = recipe_data()
    data["prompts"]["held"] |= held
    return recipe_from(data, folder=folder)


# ---- prompt sets


def test_a_set_is_cut_to_its_split_labels_and_limit(tmp_path: Path) -> None:
    write_prompts(tmp_path)
    lines = [
        json.dumps({"id": f"h{i}", "prompt": f"w{i}", "split": "ab"[i % 2], "labels": {"k": str(i % 3)}})
        for i in range(12)
    ]
    (tmp_path / "held.jsonl").write_text("\n".join(lines), encoding="utf-8")
    for how, left in (
        ({}, range(12)), ({"limit": 2}, (0, 1)), ({"split": "b"}, (1, 3, 5, 7, 9, 11)), ({"labels": {"k": "0"}}, (0, 3, 6, 9)),
        ({"labels": {"k": ["0", "2"]}, "split": "a", "limit": 3}, (0, 2, 6)),
    ):  # fmt: skip
        assert [p.id for p in read_sets(recipe(tmp_path, **how))["held"]] == [f"h{i}" for i in left]


def test_what_cannot_be_read_is_said_with_its_place(tmp_path: Path) -> None:
    write_prompts(tmp_path)
    assert refused(lambda: read_sets(recipe(tmp_path, source="nosuch.jsonl"))).startswith("'prompts.held': ")
    labels = (
        "'prompts.held.metrics' has 'faithful', which reads the label 'context', and none of its 12 prompts carries that label; "
        "give it, or leave the metric out."
    )
    assert refused(lambda: read_sets(recipe(tmp_path, metrics=["faithful"]))) == labels
    chat = [
        {
            "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}],
            "labels": {"context": "x"},
        }
    ]
    (tmp_path / "held.jsonl").write_text("\n".join(map(json.dumps, chat)), encoding="utf-8")
    assert refused(lambda: read_sets(recipe(tmp_path))).startswith("'prompts.held': ")
    assert refused(lambda: read_sets(recipe(tmp_path, metrics=["choice"]))).startswith("'prompts.held': ")


SHARED = (
    "'prompts.held' shares {} with a set that experts are ranked on; measure on prompts that the ranking has not seen, leave "
    'these out with unseen = true, or measure them all the same with unseen = "keep".'
)


@pytest.mark.parametrize(
    ("held", "said"),
    [
        ([("x", "one"), ("b", "two"), ("c", "three ")], SHARED.format("the prompt 'b' and 1 more")),
        ([("x", " three"), ("y", "two")], SHARED.format("the words of 'x' and 0 more")),
        ([("p00001", "one"), ("x", "two")], None),  # an id that was given for want of one is no name
        (
            [("b", "one"), ("a", "two")],
            "'prompts.held' holds no prompt that experts are not ranked on; give other prompts.",
        ),
    ],
)
def test_what_was_ranked_on_is_not_measured(tmp_path: Path, held: list[tuple[str, str]], said: str | None) -> None:
    write_prompts(tmp_path)
    ranked = [("a", "first"), ("b", "second"), ("r", "three"), ("p00001", "fourth")]
    sets = {name: PromptSet(tuple(Prompt(i, text=t) for i, t in rows), name) for name, rows in
            (("ranked", ranked), ("held", held), ("other", [("o", "o")]), ("given", [("g", "g")]))}  # fmt: skip
    made = recipe(tmp_path)
    if said is None:
        assert held_apart(made, sets) == sets
        return
    unseen = recipe(tmp_path, unseen=True)
    if "shares" in said:
        assert refused(lambda: held_apart(made, sets)) == said
        assert [p.id for p in held_apart(unseen, sets)["held"]] == [
            i for i, t in held if i != "b" and t.strip() != "three"
        ]
    else:
        assert refused(lambda: held_apart(unseen, sets)) == said


# ---- statistics


def test_signs_are_every_pattern_or_as_many_as_were_asked_for() -> None:
    rng = np.random.default_rng(0)
    assert sorted(map(tuple, sign_patterns(3, 7, rng))) == sorted(
        set(product((-1.0, 1.0), repeat=3)) - {(1.0, 1.0, 1.0)}
    )
    some = sign_patterns(3, 6, rng)
    assert some.shape == (6, 3)
    assert set(np.unique(some)) == {-1.0, 1.0}
    assert sign_patterns(70, 20, rng).shape == (20, 70)


@pytest.mark.parametrize(
    ("correction", "adjusted"),
    [("none", [0.25, 0.5]), ("holm", [0.5, 0.5]), ("max", [0.25, 1.0])],
)
def test_p_values_are_shares_of_sign_patterns(correction: Any, adjusted: list[float]) -> None:
    """Three clusters, the first of two prompts; by hand: means of clusters add up to the mean of all.

    Arm 0 changes by 1, 1, 2, 4: clusters 2, 2, 4 of 8; only the observed signs and their mirror reach 8: 2 of 8.
    Arm 1 changes by 1/2, 1/2, 1 where it is known: clusters 1, 1 and nothing of 3; both signs alike in 4 of 8.
    max: the larger of both means is at least arm 1's 2/3 under every pattern, and arm 0's 2 under two of them.
    """
    base = np.zeros(4)
    steered = np.array([[1.0, 1.0, 2.0, 4.0], [0.5, 0.5, 1.0, NAN]]).T
    data = Paired(["P01", "P02"], base, steered, np.array([0, 0, 1, 2]))
    found = sign_flips(data, np.array([0, 1]), Statistics(correction=correction, permutations=100), 0)
    assert found.p.tolist() == pytest.approx([0.25, 0.5])
    assert found.p_adjusted.tolist() == pytest.approx(adjusted)


def arms_and_values() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two plans with their draws, and how long the answers of four prompts in two clusters are under each."""
    kinds = [("base", "base", None, None), ("P01", "plan", None, None), ("P02", "plan", None, None),
             ("P01.bottom", "bottom", "P01", None)]  # fmt: skip
    kinds += [
        (f"P01.{match}.{i}", "random", "P01", match) for match, n in (("count", 3), ("layer", 2)) for i in range(n)
    ]
    kinds += [("P02.count.0", "random", "P02", "count")]
    moved = {"base": 0.0, "P01": -3.0, "P02": 0.0, "P01.bottom": 9.0, "P01.count.0": 1.0, "P01.count.1": NAN, "P01.count.2": -3.0,
             "P01.layer.0": 2.0, "P01.layer.1": 4.0, "P02.count.0": 7.0}  # fmt: skip
    rows = [
        (arm, prompts, f"p{i}", f"c{i // 2}", "length", 10.0 + i + by)
        for prompts in ("held", "other")
        for arm, by in moved.items()
        for i in range(4)
    ]
    columns = ["arm", "prompts", "prompt_id", "cluster", "metric", "value"]
    return pd.DataFrame(kinds, columns=["arm", "kind", "of", "match"]), pd.DataFrame(rows, columns=columns)


def test_effects_have_the_plans_own_draws_beside_them(tmp_path: Path) -> None:
    write_prompts(tmp_path)
    arms, values = arms_and_values()
    found = effects_table(recipe(tmp_path), arms, values).set_index(["prompts", "arm"])
    plan = found.loc[("held", "P01")]
    columns = ["base", "steered", "difference", "low", "high", "n", "n_clusters"]
    assert plan[columns].tolist() == [11.5, 8.5, -3.0, -3.0, -3.0, 4, 2]
    columns = ["random_median_count", "random_median_layer", "beats_random", "role"]
    assert plan[columns].tolist() == [-1.0, 3.0, 0.5, "target"]
    assert pd.isna(plan["random_median_usage"])
    assert plan["p"] == pytest.approx(0.5)
    assert found.loc[("other", "P02"), ["difference", "beats_random", "role"]].tolist() == [0.0, 0.0, "capability"]
    unknown = found.loc[("held", "P01.count.1")]
    assert unknown[["n", "n_clusters"]].tolist() == [0, 0]
    assert unknown[["base", "steered", "difference", "low", "beats_random", "p"]].isna().all()


def test_without_a_plan_there_is_no_effect(tmp_path: Path) -> None:
    write_prompts(tmp_path)
    arms, values = arms_and_values()
    assert effects_table(recipe(tmp_path), arms, values[:4]).empty
    assert effects_table(recipe(tmp_path), arms, pd.DataFrame()).empty
