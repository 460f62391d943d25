"""One arm from the base: its carriers chosen, its training, and what was learnt, as files of DIR/NAME."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from .arms import Arm, Recipe
from .carriers import Usage, usage_of
from .learning import Read, known, learn
from .lessons import Lesson, asked_elsewhere, own_answers, questions, texts
from .marking import named
from .merging import learnt
from .upper import Upper

TEXTS = 96
"""Rows of other text that are learnt from."""


def teach(arm: Arm, recipe: Recipe, model: Any, tokenizer: Any, folder: Path, dense: Read) -> None:
    """Writes DIR/NAME/taught.safetensors and made.json; what lies there of the same recipe is used."""
    asked = questions(tokenizer, own_answers(folder / "answers.jsonl"))
    kinds = [lesson.kind for lesson in asked]
    carriers = arm.carriers(_usage(model, asked, folder / "usage.pt"), kinds, recipe.carriers)
    halves, into = arm.halves(carriers), folder / arm.name
    upper = Upper(model, carriers)
    made = {"arm": arm.name, "carriers": named(upper.carriers), "halves": [named(half) for half in halves]}
    into.mkdir(exist_ok=True)
    _check_same(into / "begun.json", {**made, "recipe": asdict(recipe)})
    print(f"{arm.name}: {made['carriers']}", flush=True)
    lessons = known(upper, asked + asked_elsewhere(tokenizer) + texts(tokenizer, held_out=False)[:TEXTS], dense)
    spent = learn(upper, lessons, recipe, halves, into / "state.pt", _say)
    save_file(learnt(upper), into / "taught.safetensors")
    done = {**made, "recipe": asdict(recipe), "cpu_seconds": round(spent, 1)}
    (into / "made.json").write_text(json.dumps(done, indent=1) + "\n", encoding="utf-8")


def _say(line: str) -> None:
    print(line, flush=True)


def _usage(model: Any, asked: list[Lesson], path: Path) -> Usage:
    """What routers give the training questions, which is the same for every arm."""
    if not path.exists():
        torch.save(tuple(usage_of(Upper(model, ()), asked)), path)
    return Usage(*torch.load(path))


def _check_same(path: Path, begun: dict[str, Any]) -> None:
    """`SystemExit` where another recipe was begun here."""
    if path.exists() and json.loads(path.read_text("utf-8")) != begun:
        raise SystemExit(
            f"{path.parent} was begun with another recipe or other carriers; remove it, or name another folder."
        )
    path.write_text(json.dumps(begun, indent=1) + "\n", encoding="utf-8")
