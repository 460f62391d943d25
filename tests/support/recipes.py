"""Small recipes for the tests: prompts of one made-up kind each, written to a folder, and a recipe over them as a dict."""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

from workbench_app.experiments.recipe import Recipe, recipe_from

MODEL = "tiny/olmoe"
OPTIONS = {"target": "kind=cat", "baseline": "kind=dog", "n_permutations": 50, "n_bootstrap": 50}


def vowels(response: str) -> float | None:
    """The share of vowels among the letters of an answer; None without letters."""
    letters = [c for c in response.lower() if c.isalpha()]
    return sum(c in "aeiou" for c in letters) / len(letters) if letters else None


def write_prompts(folder: Path) -> None:
    """ranked.jsonl, held.jsonl (clusters of two), other.jsonl and given.jsonl (plain text)."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, n in (("ranked", 8), ("held", 12), ("other", 5)):
        lines = [
            {
                "id": f"{name}-{i}",
                "prompt": f"{name} {'cat' if i % 2 else 'dog'} number {i * i}",
                "labels": {"kind": "cat" if i % 2 else "dog", "answer": str(i), "choices": json.dumps([str(i), "no"])},
                "cluster": f"{name}-{i // 2}",
            }
            for i in range(n)
        ]
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    given = [{"id": f"given-{i}", "text": f"once upon a time there were {i} of them"} for i in range(4)]
    (folder / "given.jsonl").write_text("\n".join(map(json.dumps, given)), encoding="utf-8")


def recipe_data(**changes: Any) -> dict[str, Any]:
    """A recipe with every kind of measurement, as tomllib would read it; `changes` replace whole tables."""
    return deepcopy(
        {
            "name": "small",
            "models": [MODEL],
            "prompts": {
                "ranked": {"source": "ranked.jsonl", "role": "ranking"},
                "held": {
                    "source": "held.jsonl",
                    "role": "target",
                    "metrics": ["length", "tests.support.recipes:vowels", "kl"],
                    "max_new_tokens": 4,
                },
                "other": {
                    "source": "other.jsonl",
                    "role": "capability",
                    "metrics": ["length", "choice"],
                    "max_new_tokens": 3,
                },
                "given": {"source": "given.jsonl", "role": "target"},
            },
            "rankings": [{"name": "cats", "method": "ftri", "prompts": "ranked", "options": OPTIONS}],
            "plans": [
                {"ranking": "cats", "n": [1, 2], "edit": ["off", "mute"]},
                {"text": "scale L1E4=8 in generated", "name": "one"},
            ],
            "controls": {"count": 3, "layer": 2, "usage": 2, "capability_draws": 1},
            "statistics": {"bootstrap": 200, "permutations": 200},
            "measure": {"perplexity": "given", "sinks": "given"},
        }
        | changes
    )


def make_recipe(folder: Path, **changes: Any) -> Recipe:
    """The recipe, read, over prompts in `folder`."""
    write_prompts(folder)
    return recipe_from(recipe_data(**changes), "small.toml", folder)


def make_few(folder: Path, **changes: Any) -> Recipe:
    """The recipe without given text, and without random draws unless `changes` bring some."""
    prompts = {name: spec for name, spec in recipe_data()["prompts"].items() if name != "given"}
    few = {"prompts": prompts, "measure": {}, "controls": {"count": 0, "layer": 0, "usage": 0, "bottom": False}}
    return make_recipe(folder, **(few | changes))
