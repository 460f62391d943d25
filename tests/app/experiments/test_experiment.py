"""A run's tables are what its recipe says: against `compare`, against pandas, and against the library."""

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from workbench_app.experiments.run import run_recipe
from workbench_app.experiments.tables import read_tables

from tests.support.recipes import make_few, vowels
from workbench import Plan, compare, open_store, read_prompts
from workbench.comparison import choose, decay, expert_loads, sink_share

pytestmark = pytest.mark.slow


def test_one_plan_is_what_compare_says(tables, recipe, folder, model):
    plan = Plan.parse(tables["arms"].set_index("arm").loc["P02", "plan"])  # the first two experts off
    assert len(plan) == 2
    store = open_store(folder / "run" / "stores" / "00-00")
    found = compare(
        model,
        folder / "prompts" / "held.jsonl",
        plan,
        metrics={"length": len, "tests.support.recipes:vowels": vowels},
        controls={"count": 3, "layer": 2, "usage": 2},
        store=store,
        max_new_tokens=4,
        progress=False,
    )
    effects = tables["effects"].query("prompts == 'held'").set_index(["arm", "metric"])
    for row in found.metrics.itertuples():
        ours = effects.loc[("P02", row.metric)]
        assert (ours["n"], ours["n_clusters"]) == (row.n, row.n_clusters)
        for column in ("base", "steered", "difference"):
            assert ours[column] == pytest.approx(getattr(row, column), abs=1e-12)
    assert found.metrics["difference"].abs().max() > 0
    draws = {(f"P02.{r.match}.{r.draw}", r.metric): r for r in found.controls.itertuples()}
    assert len(draws) == 14
    ours = [effects.loc[key, "difference"] for key in draws]
    np.testing.assert_allclose(
        ours, [row.difference for row in draws.values()], rtol=0, atol=1e-12
    )  # another order of sums
    moved = tables["distributions"].query("arm == 'P02' and prompts == 'held'").set_index("prompt_id")
    for column in ("kl_nats", "kl_first_nats"):
        theirs = found.divergence.set_index("prompt_id")[column]
        np.testing.assert_allclose(moved[column].astype(float), theirs[moved.index].astype(float), atol=1e-6)
    dose = tables["doses"].set_index(["arm", "prompts"]).loc[("P02", "held")]
    assert all(dose[k] == getattr(found.dose, k) for k in ("tokens", "tokens_changed", "slots", "slots_changed"))
    answers = tables["answers"].query("arm == 'P02' and prompts == 'held'").set_index("prompt_id")["answer"]
    assert answers.to_dict() == found.responses.set_index("prompt_id")["steered"].to_dict()


def test_intervals_are_those_of_compare_at_its_number_of_draws(folder, model):
    changes: Any = {"seed": 3, "statistics": {"bootstrap": 2000}, "plans": [{"text": "off L1E4"}]}
    recipe = make_few(folder / "prompts", **changes)
    run_recipe(recipe, folder / "bootstrap", progress=False, open_model=lambda _: model, own_functions=True)
    ours = read_tables(folder / "bootstrap")["effects"].query("prompts == 'held' and metric == 'length'").iloc[0]
    held, plan = folder / "prompts" / "held.jsonl", Plan.off("L1E4")
    (theirs,) = compare(
        model, held, plan, metrics={"length": len}, controls=0, seed=3, max_new_tokens=4, progress=False
    ).metrics.itertuples()
    assert (ours["low"], ours["high"]) == (theirs.low, theirs.high)
    assert ours["low"] < ours["high"]


def loads_by_hand(path: Path) -> dict[str, float]:
    """Each expert's share of its layer's selections, by a walk over the slots of a store."""
    n = open_store(path).table("slots").query("slot >= 0").groupby(["layer", "expert"]).size()
    return {f"L{layer}E{expert}": count / n[layer].sum() for (layer, expert), count in n.items()}


def nearest(mine: str, own: set[str], loads: dict[str, float], everyone: list[str]) -> list[str]:
    """The experts outside of a plan whose load is nearest to that of one of its own: ten, one more for each drawn before."""
    off = {e: abs(loads.get(e, 0.0) - loads.get(mine, 0.0)) for e in everyone if e not in own}
    last = sorted(off.values())[9 + len(own) - 1]
    return [e for e, distance in off.items() if distance <= last + 1e-12]


def test_controls_match_their_plan_in_count_layer_and_load(tables, folder, model):
    """By this test's own loads and neighbours; which of them is drawn is the seed's business."""
    arms, loads = tables["arms"].set_index("arm"), loads_by_hand(folder / "run" / "stores" / "00-00")
    everyone = [str(ref) for ref in model.anatomy.refs()]
    for name in ("P01", "P04", "P05"):
        own, drawn = [str(e) for e in Plan.parse(arms.loc[name, "plan"]).experts], list[tuple[str, ...]]()
        for match, n in {"count": 3, "layer": 2, "usage": 2}.items():
            for draw in range(n):
                control = arms.loc[f"{name}.{match}.{draw}"]
                assert control["of"] == name
                found = [str(e) for e in Plan.parse(control["plan"]).experts]
                assert len(set(found)) == len(own)
                assert set(found) == set(control["experts"])
                assert not set(found) & set(own)
                if match == "layer":
                    assert sorted(e.split("E")[0] for e in found) == sorted(e.split("E")[0] for e in own)
                for other in found if match == "usage" else ():
                    assert any(other in nearest(mine, set(own), loads, everyone) for mine in own)
                drawn.append((match, *found))
        assert len(set(drawn)) > 3, "seeds draw different experts"
    assert "P05.bottom" not in arms.index  # an explicit plan has no other end


def test_the_load_of_an_expert_is_its_share_of_its_layers_selections(folder, tables):
    store = folder / "run" / "stores" / "00-00"
    found, by_hand = expert_loads(open_store(store)), loads_by_hand(store)
    assert len(found) == 3 * 16
    for row in found.itertuples():
        assert row.score == pytest.approx(by_hand.get(f"L{row.layer}E{row.expert}", 0.0))
    assert found.groupby("layer")["score"].sum().tolist() == pytest.approx([1, 1, 1])


def test_the_other_end_of_a_ranking_is_its_last_experts(tables):
    arms, scores = tables["arms"].set_index("arm"), tables["scores"]
    names = [f"L{r.layer}E{r.expert}" for r in scores[scores["n"] > 0].sort_values("rank").itertuples()]
    assert sorted(arms.loc["P02", "experts"]) == sorted(names[:2])
    assert sorted(arms.loc["P02.bottom", "experts"]) == sorted(names[-2:])


def test_choices_and_sinks_are_those_of_the_library(tables, folder, model):
    plan = Plan.parse(tables["arms"].set_index("arm").loc["P01", "plan"])
    chosen = choose(model, folder / "prompts" / "other.jsonl", [plan])[0].set_index("prompt_id")["right"]
    values = tables["values"].query("arm == 'P01' and metric == 'choice'").set_index("prompt_id")["value"]
    assert values.to_dict() == chosen.astype(float).to_dict()
    given = folder / "prompts" / "given.jsonl"
    base, moved = sink_share(model, given), sink_share(model, given, plan)
    sinks = tables["sinks"].query("arm == 'P01'").set_index("layer")
    np.testing.assert_allclose(sinks["share"].astype(float), list(moved.by_layer().values()), rtol=1e-9)
    np.testing.assert_allclose(sinks["decay"].astype(float), list(decay(base, moved).values()), atol=1e-9)


def test_given_text_is_read_token_by_token(tables, folder, model):
    """nll against transformers' own loss, one text at a time."""
    import torch

    values = tables["values"].query("arm == 'base' and metric == 'nll'").set_index("prompt_id")["value"]
    for prompt in read_prompts(folder / "prompts" / "given.jsonl"):
        ids = torch.tensor([model.tokenizer(prompt.text)["input_ids"]])
        with torch.no_grad():
            assert values[prompt.id] == pytest.approx(float(model.hf(ids, labels=ids).loss), abs=1e-5)


def test_effects_are_means_of_paired_differences(tables):
    wide = tables["values"].pivot(index=["prompts", "metric", "prompt_id"], columns="arm", values="value")
    rows = 0
    for row in tables["effects"].itertuples():
        both = wide.loc[(row.prompts, row.metric), ["base", row.arm]].dropna().astype(float)
        assert row.n == len(both)
        assert row.base == pytest.approx(both["base"].mean(), nan_ok=True)
        assert row.steered == pytest.approx(both[row.arm].mean(), nan_ok=True)
        assert row.difference == pytest.approx((both[row.arm] - both["base"]).mean(), nan_ok=True, abs=1e-12)
        assert not row.low > row.difference + 1e-12
        assert not row.high < row.difference - 1e-12
        rows += 1
    assert rows == sum(
        len(g) > 0 for _, g in tables["values"].query("arm != 'base'").groupby(["prompts", "metric", "arm"])
    )


def test_what_random_experts_do_stands_beside_every_plan(tables):
    arms = tables["arms"].set_index("arm")
    effects = tables["effects"].join(arms[["kind", "of", "match"]], on="arm")
    plans = effects[effects["kind"].isin(["plan", "explicit"])]
    assert len(plans) == 5 * 7
    for row in plans.itertuples():
        drawn = effects.query(
            "of == @row.arm and kind == 'random' and prompts == @row.prompts and metric == @row.metric"
        )
        for match in ("count", "layer", "usage"):
            median = drawn[drawn["match"] == match]["difference"].median()
            assert getattr(row, f"random_median_{match}") == pytest.approx(median, nan_ok=True)
        known = drawn["difference"].dropna().abs()
        assert row.beats_random == pytest.approx((known < abs(row.difference) - 1e-12).mean(), nan_ok=True)
        assert len(drawn) == (7 if row.role == "target" else 3)
    assert effects[~effects["kind"].isin(["plan", "explicit"])]["p"].isna().all()


def test_p_values_are_those_of_every_sign_flip(tables, recipe):
    """All 2^clusters patterns in plain Python, the observed one among them."""
    values, arms = tables["values"], tables["arms"]
    plans = list(arms[arms["kind"].isin(["plan", "explicit"])]["arm"])
    effects = tables["effects"].set_index(["prompts", "metric", "arm"])
    for prompts, metric in (
        ("held", "length"),
        ("held", "tests.support.recipes:vowels"),
        ("other", "length"),
        ("given", "nll"),
    ):
        rows = values.query("prompts == @prompts and metric == @metric")
        wide = rows.pivot(index="prompt_id", columns="arm", values="value").astype(float)
        cluster = rows.drop_duplicates("prompt_id").set_index("prompt_id")["cluster"].loc[wide.index]
        sums = {}
        for arm in plans:
            difference = wide[arm] - wide["base"]
            sums[arm] = [difference[cluster == c].sum() / difference.notna().sum() for c in sorted(set(cluster))]
        observed = {arm: abs(sum(s)) for arm, s in sums.items()}
        flipped = [
            {arm: abs(np.dot(signs, s)) for arm, s in sums.items()}
            for signs in product((1, -1), repeat=len(set(cluster)))
        ]
        spread = {arm: np.sqrt(np.mean([f[arm] ** 2 for f in flipped])) or np.inf for arm in plans}
        largest = np.array([max(f[arm] / spread[arm] for arm in plans) for f in flipped])
        for arm in plans:
            own = np.mean([f[arm] >= observed[arm] - 1e-9 for f in flipped])
            most = np.mean(largest >= observed[arm] / spread[arm] - 1e-9)
            assert effects.loc[(prompts, metric, arm), "p"] == pytest.approx(own)
            assert effects.loc[(prompts, metric, arm), "p_adjusted"] == pytest.approx(most)
    assert effects.xs("kl", level="metric")["p"].isna().all()  # a distance cannot be below the base's 0
