"""A recipe's prompt sets: read, filtered, and held apart, so that no prompt that experts are ranked on is measured."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from workbench import PromptSet, WorkbenchError, read_prompts
from workbench.prompts import Prompt

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
    check_apart(recipe, found)
    return found


def _read(spec: Prompts) -> PromptSet:
    if Path(spec.source).suffix in (".yaml", ".yml"):
        from workbench.harness import read_task

        prompts = read_task(spec.source)
    else:
        prompts = read_prompts(spec.source)
    prompts = prompts.filter(split=spec.split, labels=spec.labels or None)
    return PromptSet(prompts.prompts[: spec.limit], prompts.source)


def check_apart(recipe: Recipe, sets: Mapping[str, PromptSet]) -> None:
    """Raises `WorkbenchError` when a measured set shares a prompt, by id or by its words, with a set that is ranked on."""
    ranked = [name for name, spec in recipe.prompts.items() if spec.role == "ranking"]
    for ranking in ranked:
        for name in recipe.measured():
            for what in _shared(sets[ranking], sets[name]):
                raise WorkbenchError(
                    f"'prompts.{name}' shares {what} with 'prompts.{ranking}', which experts are ranked on; measure on prompts "
                    f"that the ranking has not seen, by split or from another file."
                )


def _shared(ranking: PromptSet, measured: PromptSet) -> Iterator[str]:
    ids, words = {p.id for p in ranking}, {said(p).strip() for p in ranking}
    for prompt in measured:
        if prompt.id in ids and not _NUMBERED.fullmatch(prompt.id):
            yield f"the prompt '{prompt.id}'"
        if said(prompt).strip() in words:
            yield f"the words of its prompt '{prompt.id}'"


def said(prompt: Prompt) -> str:
    """A prompt's words: its text, or what was said last."""
    return prompt.text if prompt.text is not None else str((prompt.messages or ({"content": ""},))[-1]["content"])
