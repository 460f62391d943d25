"""Plans that prune: which experts are least, of a ranking and of every layer, and what stands beside them."""

from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from workbench_app.experiments.engine import arms_of
from workbench_app.experiments.engine.arms import Ranked
from workbench_app.experiments.engine.least import least, most
from workbench_app.experiments.recipe import CellPart, Recipe, recipe_from

from probes.ranking import ExpertScores
from tests.app.experiments.engine.small import SHAPE
from tests.support.recipes import recipe_data
from workbench import ExpertRef, Plan, WorkbenchError

NAN = float("nan")
# layers 1 and 2 of 8 experts, best first. Of layer 2's last two nobody selected 6, and 7 has a value that is not finite
ROWS = [
    *((1, e, 0.9 - 0.1 * e, 9) for e in range(7)), (1, 7, 0.0, 0),
    *((2, e, 0.45 - 0.1 * e, 9) for e in range(5)), (2, 5, -0.05, 9), (2, 6, NAN, 0), (2, 7, NAN, 3),
]  # fmt: skip


def scores(rows: list[tuple[int, int, float, int]]) -> ExpertScores:
    frame = pd.DataFrame(rows, columns=["layer", "expert", "score", "n"]).assign(
        flags="", low=NAN, high=NAN, p=NAN, p_adjusted=NAN
    )
    return ExpertScores("usage", {}, frame.assign(is_shared=False), (), SHAPE.fingerprint, "m")


def part(end: Any, n: int) -> CellPart:
    return CellPart(end, n, "off", None)


def names(refs: tuple[ExpertRef, ...]) -> list[str]:
    return [str(ref) for ref in refs]


def test_the_least_are_those_that_nobody_selected_and_then_the_lowest_scores() -> None:
    found = scores(ROWS)
    assert names(least(found, part("least", 5))) == ["L2E6", "L2E5", "L1E7", "L2E4", "L2E3"]
    assert names(most(found, part("least", 3))) == ["L1E0", "L1E1", "L1E2"]
    # three of every layer: 0, 0.3, 0.4 of layer 1; without a score, -0.05, 0.05 of layer 2
    assert names(least(found, part("least_by_layer", 6))) == ["L1E7", "L1E6", "L1E5", "L2E6", "L2E5", "L2E4"]
    assert names(most(found, part("least_by_layer", 4))) == ["L1E0", "L1E1", "L2E0", "L2E1"]


def test_what_cannot_be_told_is_never_taken_and_never_filled_up() -> None:
    found = scores(ROWS)
    assert "L2E7" not in names(least(found, part("least", 15)))
    with pytest.raises(WorkbenchError, match="Only 15 experts can be told from the others, and 16 were asked for"):
        least(found, part("least", 16))
    with pytest.raises(
        WorkbenchError, match="Only 7 experts in layer 2 can be told from the others, and 8 were asked for"
    ):
        least(found, part("least_by_layer", 16))
    with pytest.raises(WorkbenchError, match="Only 13 experts can be told"):  # nobody selected L1E7 and L2E6
        most(found, part("least", 14))
    with pytest.raises(
        WorkbenchError, match="5 experts cannot be taken in equal numbers out of 2 layers; give n as a multiple"
    ):
        least(found, part("least_by_layer", 5))
    shared = ExpertScores("s", {}, found.frame.assign(is_shared=True), (), SHAPE.fingerprint, "m")
    with pytest.raises(WorkbenchError, match="Only 0 experts can be told"):
        least(shared, part("least", 1))


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2)), min_size=4, max_size=16), st.integers(1, 4))
def test_least_equals_a_loop(drawn: list[tuple[int, int]], n: int) -> None:
    rows = [
        (i % 2, i // 2, score / 4 if n_selected or score else NAN, n_selected)
        for i, (score, n_selected) in enumerate(drawn)
    ]
    left, expected = list(rows), []
    for _ in range(n):  # one after the other the lowest that is left, by layer and number where equal
        best = None
        for row in left:
            key = (row[2] == row[2], row[2] if row[2] == row[2] else 0.0, row[0], row[1])
            if best is None or key < best[0]:
                best = (key, row)
        assert best is not None
        left.remove(best[1])
        expected.append(f"L{best[1][0]}E{best[1][1]}")
    assert names(least(scores(rows), part("least", n))) == expected
    counts = [sum(row[0] == layer for row in rows) for layer in (0, 1)]
    if min(counts) >= 1:
        found = names(least(scores(rows), part("least_by_layer", 2)))
        alone = [names(least(scores([r for r in rows if r[0] == layer]), part("least", 1)))[0] for layer in (0, 1)]
        assert found == alone


def pruning(**plans: Any) -> Recipe:
    rankings = [{"name": "cats", "method": "usage", "prompts": "ranked"}]
    controls = {"count": 20, "layer": 20, "usage": 0}
    return recipe_from(
        recipe_data(plans=[{"ranking": "cats", "edit": "off", **plans}], rankings=rankings, controls=controls)
    )


def arms(recipe: Recipe) -> dict[str, Any]:
    ranked = Ranked.of({"cats": scores(ROWS)}, {"cats": pd.DataFrame()}, {})
    return {arm.arm: arm for arm in arms_of(recipe, SHAPE, ranked)}


def test_a_plan_that_prunes_stands_beside_the_most_and_draws_of_its_size_from_all_experts() -> None:
    found = arms(pruning(end="least_by_layer", n=8))
    plan, other = found["P01"], found["P01.bottom"]
    assert plan.edits() == Plan.off("L1E7, L1E6, L1E5, L1E4, L2E6, L2E5, L2E4, L2E3").for_model(SHAPE)
    assert (plan.end, plan.n, plan.reason) == ("least_by_layer", 8, None)
    assert set(other.experts) == {f"L{layer}E{e}" for layer in (1, 2) for e in range(4)}
    draws = [found[f"P01.{match}.{i}"] for match in ("count", "layer") for i in range(20)]
    able = [draw for draw in draws if draw.reason is None]  # as many of one layer may leave fewer than top-k there
    assert all(len(set(draw.experts)) == 8 for draw in able)
    by_layer = [found[f"P01.layer.{i}"] for i in range(20)]
    assert all(sum(e.startswith("L1") for e in draw.experts) == 4 for draw in by_layer)
    assert len({draw.experts for draw in by_layer}) > 15, "beside half of the experts they are not all its other half"
    taken = {e for draw in by_layer for e in draw.experts}
    assert taken == {f"L{layer}E{e}" for layer in (1, 2) for e in range(8)}


def test_other_plans_are_still_set_beside_experts_apart_from_theirs() -> None:
    found = arms(pruning(end="top", n=6))
    plan = set(found["P01"].experts)
    assert all(not plan & set(arm.experts) for name, arm in found.items() if ".count." in name)


def test_draws_from_all_experts_are_uniform() -> None:
    plan = Plan.off([ExpertRef(1, e) for e in range(4)])
    counts = dict.fromkeys(range(8), 0)
    for seed in range(400):
        for expert in Plan.random_like(plan, SHAPE, "layer", seed=seed, apart=False).experts:
            assert expert.layer == 1
            counts[expert.expert] += 1
    assert all(200 - 50 < n < 200 + 50 for n in counts.values()), counts  # sd 10
    assert not {e.expert for e in Plan.random_like(plan, SHAPE, "layer", seed=1).experts} & set(range(4))


def test_what_cannot_be_pruned_is_an_arm_with_its_reason() -> None:
    found = arms(pruning(end=["least", "least_by_layer"], n=[3, 15]))
    assert found["P03"].reason == (
        "3 experts cannot be taken in equal numbers out of 2 layers; give n as a multiple of that."
    )
    assert "top-2" in str(found["P02"].reason) or "2" in str(
        found["P02"].reason
    )  # 15 of 16 leave too few in some layer
    assert found["P01"].reason is None
