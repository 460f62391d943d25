"""A recipe's prompt sets: read, filtered, and held apart, so that no prompt that experts are ranked on is measured."""

import re
from collections.abc import Mapping
from pathlib import Path

from workbench import PromptSet, WorkbenchError, read_prompts
from workbench.prompts import check_unanswered
from workbench.responses import LABEL_READ

from .metrics import CHOICE, DIVERGENCE, metrics_of, text_metrics
from .recipe import Recipe
from .sections import Prompts

_NUMBERED = re.compile(r"p\d{5}")  # an id that `read_prompts` gave for want of one


def read_sets(recipe: Recipe) -> dict[str, PromptSet]:
    """Every prompt set by name. Raises `WorkbenchError` for what cannot be read, and for sets that are not held apart."""
    found: dict[str, PromptSet] = {}
    for name, spec in recipe.prompts.items():
        try:
            found[name] = _read(spec)
        except WorkbenchError as error:
            raise WorkbenchError(f"'prompts.{name}': {error}") from error
        _check_labels(name, spec, found[name])
        _check_answered(recipe, name, found[name])
    return held_apart(recipe, found)


def _check_labels(name: str, spec: Prompts, prompts: PromptSet) -> None:
    """A metric that no prompt can be measured by is found out before anything is captured, not after."""
    for metric in spec.metrics:
        label = LABEL_READ.get(metric)
        if label and not any(label in p.labels for p in prompts):
            raise WorkbenchError(
                f"'prompts.{name}.metrics' has '{metric}', which reads the label '{label}', and none of its {len(prompts)} "
                f"prompts carries that label; give it, or leave the metric out."
            )


def _check_answered(recipe: Recipe, name: str, prompts: PromptSet) -> None:
    """Chats that cannot be answered are found out before a model is loaded, where their answers are wanted."""
    read = {*text_metrics(recipe, name), *(set(metrics_of(recipe, name)) & {*CHOICE, *DIVERGENCE})}
    if recipe.capture.generate if recipe.prompts[name].role == "ranking" else read:
        try:
            check_unanswered(prompts)
        except WorkbenchError as error:
            raise WorkbenchError(f"'prompts.{name}': {error}") from error


def _read(spec: Prompts) -> PromptSet:
    if Path(spec.source).suffix in (".yaml", ".yml"):
        from workbench.prompts import read_task

        prompts = read_task(spec.source)
    else:
        prompts = read_prompts(spec.source)
    prompts = prompts.filter(split=spec.split, labels=spec.labels or None)
    return PromptSet(prompts.prompts[: spec.limit], prompts.source)


def held_apart(recipe: Recipe, sets: Mapping[str, PromptSet]) -> dict[str, PromptSet]:
    """The sets without what a measured one shares, by id or by words, with one that is ranked on.

    Raises `WorkbenchError` where a set that shares does not say that such prompts are to be left out (`unseen`).
    """
    ranked = [p for name, spec in recipe.prompts.items() if spec.role == "ranking" for p in sets[name]]
    ids, words = {p.id for p in ranked if not _NUMBERED.fullmatch(p.id)}, {p.said.strip() for p in ranked}
    found = dict(sets)
    for name, spec in recipe.measured().items():
        shared = [p for p in sets[name] if p.id in ids or p.said.strip() in words]
        if shared and not spec.unseen:
            what = f"the prompt '{shared[0].id}'" if shared[0].id in ids else f"the words of '{shared[0].id}'"
            raise WorkbenchError(
                f"'prompts.{name}' shares {what} and {len(shared) - 1} more with a set that experts are ranked on; measure on "
                f"prompts that the ranking has not seen, or leave these out with unseen = true."
            )
        found[name] = PromptSet(tuple(p for p in sets[name] if p not in shared), sets[name].source)
        if not len(found[name]):
            raise WorkbenchError(
                f"'prompts.{name}' holds no prompt that experts are not ranked on; give other prompts."
            )
    return found
