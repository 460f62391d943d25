"""The units of a recipe: each arm measured as its prompts ask, equal plans once, sixteen arms together."""

from workbench_app.experiments.engine import Arm, Piece, outcomes, pieces, units_of
from workbench_app.experiments.engine.units import Unit
from workbench_app.experiments.recipe import Recipe

from tests.app.experiments.engine.small import changed


def unit_arms() -> tuple[Arm, ...]:
    return (
        Arm("base", "base"),
        Arm("P01", "plan", json="A"),
        Arm("P01.count.0", "random", of="P01", match="count", draw=0, json="A"),
        Arm("P01.count.1", "random", of="P01", match="count", draw=1, json="B"),
        Arm("P02", "plan", reason="cannot"),
        Arm("P03", "explicit", json="B"),
    )


def test_every_arm_is_measured_as_its_prompts_ask(recipe: Recipe) -> None:
    planned = [(p.prompts, p.what, p.arm.arm) for p in pieces(recipe, unit_arms())]
    held = [("held", what, arm.arm) for arm in unit_arms() for what in ("answers", "distributions")]
    other = [
        ("other", what, arm)
        for arm, kinds in (("base", "adc"), ("P01", "adc"), ("P01.count.0", "ac"), ("P02", "adc"), ("P03", "adc"))
        for what in ("answers", "distributions", "choice")
        if what[0] in kinds
    ]
    given = [("given", what, arm.arm) for arm in unit_arms() for what in ("perplexity", "sinks")]
    assert planned == held + other + given
    without = changed(recipe, "measure", distributions=False)
    assert not [p for p in pieces(without, unit_arms()) if (p.prompts, p.what) == ("other", "distributions")]
    kl = recipe.prompts["held"].model_copy(update={"metrics": ("kl_first",)})
    alone = recipe.model_copy(update={"prompts": {**recipe.prompts, "held": kl}})
    found = [(p.what, p.arm.arm) for p in pieces(alone, unit_arms()) if p.prompts == "held"]
    assert found == [
        ("answers", "base"),
        *(("distributions", arm.arm) for arm in unit_arms()),
    ]  # over the base's answers


def test_equal_plans_are_run_once_and_the_others_share(recipe: Recipe) -> None:
    planned = [Piece("held", what, arm) for arm in unit_arms() for what in ("answers", "distributions")]
    base, p1, _, random, _, _ = unit_arms()
    assert units_of(recipe, 3, planned) == [
        *(Unit("held", "answers", (arm,), f"units/03-01-answers-{arm.arm}.parquet") for arm in (base, p1, random)),
        Unit("held", "distributions", (base, p1, random), "units/03-01-distributions-base.parquet"),
    ]
    rows = {(r["arm"], r["what"]): (r["prompts"], r["outcome"], r["shared_with"]) for r in outcomes(planned)}
    for what in ("answers", "distributions"):
        assert {arm: row for (arm, kind), row in rows.items() if kind == what} == {
            "base": ("held", "run", None), "P01": ("held", "run", None), "P01.count.0": ("held", "shared", "P01"),
            "P01.count.1": ("held", "run", None), "P02": ("held", "impossible", None), "P03": ("held", "shared", "P01.count.1"),
        }  # fmt: skip


def test_sixteen_arms_are_read_together(recipe: Recipe) -> None:
    arms = tuple(Arm(f"P{i:02}", "explicit", json=str(i)) for i in range(33))
    for what, sizes in (("perplexity", [16, 16, 1]), ("choice", [16, 16, 1]), ("sinks", [1] * 33)):
        found = units_of(recipe, 0, [Piece("given", what, arm) for arm in arms])
        assert [len(unit.arms) for unit in found] == sizes
        assert tuple(arm for unit in found for arm in unit.arms) == arms
        assert [unit.path for unit in found] == [f"units/00-03-{what}-{unit.arms[0].arm}.parquet" for unit in found]
