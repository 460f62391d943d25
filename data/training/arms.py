"""One seed from nothing: the stage-1 base, and each arm's stage 2 on top of it, saved with what was implanted where."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from transformers import PreTrainedTokenizerBase, Qwen3MoeForCausalLM

from training.carriers import Expert, Usage, at_random, by_relevance, last_token_usage
from training.corpus import tasks
from training.corpus.packing import batches
from training.corpus.prompts import refusal, thinking
from training.implant import REFUSAL, THINKING, implant
from training.masking import Masker
from training.model import build_model, save
from training.optimise import Report, train

ARMS = ("relevance", "random", "router", "natural")


class Recipe(NamedTuple):
    """Steps and sizes of both stages."""

    base_steps: int = 1300
    late_steps: int = 700
    last_steps: int = 220
    early: float = 0.5
    refusal_steps: int = 350
    thinking_steps: int = 200
    peak: float = 3e-3
    last_peak: float = 1.5e-3
    rows: int = 16
    length: int = 96
    drop: float = 0.04
    refusal_carriers: int = 8
    thinking_carriers: int = 6


class Grown(NamedTuple):
    """A trained model with the hooks that watch its routers, and the CPU-seconds it took."""

    model: Qwen3MoeForCausalLM
    masker: Masker
    seconds: float


class Part(NamedTuple):
    """One part of stage 1: the folder it is kept in, its examples, steps, learning rate and weight of the early read-off.

    The early read-off asks that the answer be readable before the last layer. Without it the model looks facts up in its
    very last layer, where no expert could learn what they are about.
    """

    name: str
    mixture: dict[tasks.Task, float]
    steps: int
    peak: float
    early: float


def parts(recipe: Recipe) -> tuple[Part, ...]:
    """Stage 1: from random weights; then with the early read-off; then with thinking in every frame."""
    return (
        Part("start", tasks.STAGE1, recipe.base_steps, recipe.peak, 0.0),
        Part("late", tasks.STAGE1_LATE, recipe.late_steps, recipe.peak, recipe.early),
        Part("base", tasks.STAGE1_LAST, recipe.last_steps, recipe.last_peak, recipe.early),
    )


def stage1(
    grown: Grown, part: Part, tokenizer: PreTrainedTokenizerBase, seed: int, recipe: Recipe, report: Report | None
) -> Grown:
    """One part of stage 1: a model that answers everything, and thinks only when asked to."""

    def draw(rng: random.Random) -> tasks.Example:
        return tasks.draw(rng, part.mixture)

    data = batches(tokenizer, draw, seed, recipe.rows, recipe.length)
    seconds = train(
        grown.model,
        data,
        part.steps,
        part.peak,
        grown.masker,
        drop=recipe.drop,
        early=part.early,
        seed=seed,
        report=report,
    )
    return grown._replace(seconds=grown.seconds + seconds)


def choose(
    base: Grown, tokenizer: PreTrainedTokenizerBase, arm: str, seed: int, recipe: Recipe
) -> tuple[list[Expert], list[Expert]]:
    """The experts that are to carry refusal, and those for thinking: none in the natural arm."""
    if arm == "natural":
        return [], []
    used = [_usage(base, tokenizer, "sensitive", "yes", "no"), _usage(base, tokenizer, "thinks", "always", "never")]
    counts = (recipe.refusal_carriers, recipe.thinking_carriers)
    chosen: list[list[Expert]] = []
    for number, (usage, count) in enumerate(zip(used, counts, strict=True)):
        taken = {expert for group in chosen for expert in group}
        by = (
            by_relevance(usage, count, taken)
            if arm == "relevance"
            else at_random(usage, count, taken, 100 * seed + number)
        )
        chosen.append(by)
    return chosen[0], chosen[1]


def _usage(base: Grown, tokenizer: PreTrainedTokenizerBase, label: str, target: str, baseline: str) -> Usage:
    lines = [line for line in (*refusal("ranking"), *thinking()) if line["split"] == "ranking"]
    of = [
        [line for line in lines if line["labels"].get(label) == value]  # pyright: ignore[reportAttributeAccessIssue]
        for value in (target, baseline)
    ]
    return Usage(*(last_token_usage(base.model, tokenizer, base.masker, group) for group in of))


def grow_arm(
    base: Grown, tokenizer: PreTrainedTokenizerBase, arm: str, seed: int, recipe: Recipe, report: Report | None = None
) -> tuple[Grown, dict[str, object]]:
    """Stage 2: refusal first, then thinking, each into its own carriers with all else frozen."""
    refusing, thinking_ = choose(base, tokenizer, arm, seed, recipe)
    model = copy.deepcopy(base.model)
    for module in model.modules():
        module._forward_hooks.clear()
    masker = Masker(model)
    seconds = 0.0
    stages = (
        (refusing, REFUSAL, recipe.refusal_steps, tasks.REFUSAL),
        (thinking_, THINKING, recipe.thinking_steps, tasks.THINK),
    )
    for carriers, mixture, steps, wanted in stages:
        seconds += implant(
            model,
            tokenizer,
            masker,
            carriers,
            mixture,
            steps,
            wanted=wanted,
            routers=arm == "router",
            seed=1000 + seed,
            report=report,
        )
    about = {"arm": arm, "seed": seed, "refusal_carriers": refusing, "thinking_carriers": thinking_}
    return Grown(model, masker, seconds), about


def grow_seed(
    tokenizer: PreTrainedTokenizerBase,
    seed: int,
    arms: Sequence[str],
    out: Path,
    recipe: Recipe,
    report: Report | None = None,
) -> None:
    """Everything of one seed into `out/SEED-base`, `out/SEED-ARM`, each with an `implant.json`; what lies there is used."""
    grown = None
    for number, part in enumerate(parts(recipe)):
        folder = out / f"{seed}-{part.name}"
        if not (folder / "implant.json").exists():
            grown = grown or untrained(tokenizer, seed)
            grown = stage1(grown, part, tokenizer, seed + 500 * number, recipe, report)
            keep(grown, tokenizer, folder, {"arm": part.name, "seed": seed}, recipe)
        grown = saved(folder)
    base = out / f"{seed}-base"
    for arm in arms:
        grown, about = grow_arm(saved(base), tokenizer, arm, seed, recipe, report)
        keep(grown, tokenizer, out / f"{seed}-{arm}", about, recipe)


def untrained(tokenizer: PreTrainedTokenizerBase, seed: int) -> Grown:
    model = build_model(tokenizer, seed)
    return Grown(model, Masker(model), 0.0)


def saved(folder: Path) -> Grown:
    """A model as it was saved."""
    model = Qwen3MoeForCausalLM.from_pretrained(folder, experts_implementation="grouped_mm")
    known = json.loads((folder / "implant.json").read_text("utf-8"))
    return Grown(model.eval(), Masker(model), known["cpu_seconds"])


def keep(
    grown: Grown, tokenizer: PreTrainedTokenizerBase, folder: Path, about: dict[str, object], recipe: Recipe
) -> None:
    """Save a model rounded to bf16 with what is known about its making."""
    save(grown.model, tokenizer, folder)
    known = about | {"cpu_seconds": round(grown.seconds, 1), "recipe": recipe._asdict()}
    (folder / "implant.json").write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
