"""Functions of one's own are named before they are run."""

from pathlib import Path

from workbench_app.experiments.run import checked_sets

from tests.support.recipes import recipe_data, write_prompts
from tests.support.refusals import refused


def test_functions_of_ones_own_are_named_before_they_are_run(tmp_path: Path) -> None:
    write_prompts(tmp_path)
    data = recipe_data()
    data["prompts"]["other"]["metrics"] = ["ast:parse", "length"]
    from workbench_app.experiments.recipe import recipe_from

    recipe = recipe_from(data, folder=tmp_path)
    assert refused(lambda: checked_sets(recipe)) == (
        "The recipe runs code of its own, ast:parse, tests.support.recipes:vowels; "
        "add --own-functions to run it if you trust it."
    )
    assert {name: len(s) for name, s in checked_sets(recipe, True).items()} == {
        "ranked": 8,
        "held": 12,
        "other": 5,
        "given": 4,
    }
    data["prompts"]["other"]["metrics"] = ["ast:nosuch"]
    assert refused(lambda: checked_sets(recipe_from(data, folder=tmp_path), True)) == (
        "The metric 'ast:nosuch' cannot be imported (module 'ast' has no attribute 'nosuch'); name a function of an installed "
        "module as module:function."
    )
