"""A made-up run on two models, of which each has numbers of its own."""

from typing import Any

from workbench_app.experiments.recipe import Recipe

from tests.app.experiments.runs import made_recipe

MODELS = ("some/model", "other/brand")
DOSE = {"tokens": 1000, "tokens_changed": 0, "slots": 3000, "slots_changed": 7}


def recipe_of_two() -> Recipe:
    return made_recipe(models=[*MODELS])


def changed(tables: dict[str, Any], model: str) -> dict[str, Any]:
    """The other model's tables: every number is another."""
    found = {name: frame.assign(model=model) for name, frame in tables.items()}
    for column in ("base", "steered", "difference", "low", "high", "random_median_count"):
        found["effects"][column] = found["effects"][column] * 0.4
    found["effects"]["n"] = 40 + found["effects"].index // 2 % 2
    found["effects"][["p_adjusted", "random_median_layer", "random_median_usage", "beats_random"]] = [
        0.5,
        0.25,
        0.125,
        0.25,
    ]
    found["scores"]["score"] *= -1
    found["scores"]["is_shared"] = True
    found["doses"] = found["doses"].assign(**DOSE)
    found["distributions"]["kl_nats"] = 1.5
    found["distributions"]["kl_first_nats"] = float("nan")
    found["sinks"][["share", "decay"]] = found["sinks"][["share", "decay"]] * 0.4
    found["answers"]["answer"] = found["answers"]["answer"].where(found["answers"]["arm"] == "base", "other")
    return found
