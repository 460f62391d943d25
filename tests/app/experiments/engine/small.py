"""The small recipe's prompts without their text, and the recipe with one thing changed."""

from typing import Any

from workbench_app.experiments.recipe import Recipe

from tests.support.stores import anatomy
from workbench import PromptSet
from workbench.prompts import Prompt

SHAPE = anatomy(n_experts=8)  # layer 0 dense, 1 and 2 select 2 of 8 experts
LENGTHS = {"ranked": 100, "held": 200, "other": 50, "given": 30}
CHOICES = {"choices": '["a", "b", "c"]'}


def sets_of(**choices: str) -> dict[str, PromptSet]:
    """As many prompts as the small recipe's sets hold."""
    sizes = {"ranked": 8, "held": 12, "other": 5, "given": 4}
    return {
        name: PromptSet(tuple(Prompt(f"{name}{i}", text="x", labels=dict(choices)) for i in range(n)), name)
        for name, n in sizes.items()
    }


def changed(recipe: Recipe, section: str, **changes: Any) -> Recipe:
    return recipe.model_copy(update={section: getattr(recipe, section).model_copy(update=changes)})
