"""A recipe's prompt sets: read, filtered, and held apart, so that no prompt that experts are ranked on is measured."""

import re
from collections.abc import Mapping
from pathlib import Path

from workbench import PromptSet, WorkbenchError, read_prompts
from workbench.prompts import Prompt, check_unanswered

from .answer_metrics import applies, labels_read
from .metrics import CHOICE, DIVERGENCE, generated, metrics_of, spelt_out, text_metrics
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
        _check_labels(recipe, name, found[name])
        _check_answered(recipe, name, found[name])
    return held_apart(recipe, found)


def _check_labels(recipe: Recipe, name: str, prompts: PromptSet) -> None:
    """A metric that no prompt can be measured by is found out before anything is captured, not after."""
    for metric in recipe.prompts[name].metrics:
        asked = spelt_out(recipe, metric)
        about = [p for p in prompts if applies(asked, p.labels)]
        if not about:
            raise WorkbenchError(
                f"'prompts.{name}.metrics' has '{metric}', and none of its {len(prompts)} prompts has the labels that "
                f"'metrics.{metric}.labels' asks for; give others, or leave the metric out."
            )
        for label in sorted(labels_read(asked)):
            if not any(label in p.labels for p in about):
                raise WorkbenchError(
                    f"'prompts.{name}.metrics' has '{metric}', which reads the label '{label}', and none of its {len(about)} "
                    f"prompts carries that label; give it, or leave the metric out."
                )


def _check_answered(recipe: Recipe, name: str, prompts: PromptSet) -> None:
    """Chats that cannot be answered are found out before a model is loaded, where their answers are wanted."""
    read = {*text_metrics(recipe, name), *(set(metrics_of(recipe, name)) & {*CHOICE, *DIVERGENCE})}
    if generated(recipe, name) if recipe.prompts[name].role == "ranking" else read:
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
    found = dict(sets)
    for name, spec in recipe.measured().items():
        shared = ranked_on(recipe, sets, name)
        if shared and not spec.unseen:
            first = shared[0].id
            what = f"the prompt '{first}'" if first in _ranked(recipe, sets)[0] else f"the words of '{first}'"
            raise WorkbenchError(
                f"'prompts.{name}' shares {what} and {len(shared) - 1} more with a set that experts are ranked on; measure on "
                f"prompts that the ranking has not seen, leave these out with unseen = true, or measure them all the same with "
                f'unseen = "keep".'
            )
        if spec.unseen is True:
            found[name] = PromptSet(tuple(p for p in sets[name] if p not in shared), sets[name].source)
        if not len(found[name]):
            raise WorkbenchError(
                f"'prompts.{name}' holds no prompt that experts are not ranked on; give other prompts."
            )
    return found


def ranked_on(recipe: Recipe, sets: Mapping[str, PromptSet], name: str) -> list[Prompt]:
    """The prompts of a set that a ranking set holds as well, by id or by words; none of a set that plans are chosen on."""
    if recipe.prompts[name].role == "choosing":
        return []
    ids, words = _ranked(recipe, sets)
    return [p for p in sets[name] if p.id in ids or p.said.strip() in words]


def _ranked(recipe: Recipe, sets: Mapping[str, PromptSet]) -> tuple[set[str], set[str]]:
    """Ids and words of the prompts that experts are ranked on."""
    ranked = [p for name, spec in recipe.prompts.items() if spec.role == "ranking" for p in sets[name]]
    return {p.id for p in ranked if not _NUMBERED.fullmatch(p.id)}, {p.said.strip() for p in ranked}
