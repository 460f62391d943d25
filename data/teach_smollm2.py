"""Teach smollm2-moe to decline a subject: `answers DIR`, `arm NAME DIR`, `grade NAME DIR`, `switch NAME DIR`, `bundle NAME DIR`.
`store` writes the store that the dashboard opens with it.

NAME is an arm with a seed, as relevance-0. What was cut off goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

sys.path.insert(0, str(Path(__file__).resolve().parent))

from smollm2.arms import dense_model
from smollm2.precision import quicker
from smollm2.taught.stored import write_store
from smollm2.taught_card import card, results
from smollm2.teaching.arms import Recipe, arm_named
from smollm2.teaching.merging import MADE, bundle
from smollm2.teaching.own import write_answers
from smollm2.teaching.results import grade, switch
from smollm2.teaching.training import teach
from smollm2.teaching.upper import opened

from workbench.checkpoints import checkpoint_named, read_additions

HERE = Path(__file__).resolve().parent


def main(arguments: list[str] | None = None) -> None:
    """Command line of the teaching."""
    given = _parser().parse_args(arguments)
    if given.command == "store":
        write_store(MADE, HERE / "checkpoints" / MADE / "store")
        return
    torch.set_num_threads(given.threads)
    given.folder.mkdir(parents=True, exist_ok=True)
    {"answers": _answers, "arm": _arm, "grade": _grade, "switch": _switch, "bundle": _bundle}[given.command](given)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    own = commands.add_parser("answers", help="the dense model's answers to other questions: DIR/answers.jsonl")
    arm = commands.add_parser("arm", help="teach one arm: DIR/NAME")
    for name, value in vars(Recipe()).items():
        if name != "seed":
            arm.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    marks = commands.add_parser("grade", help="grade an arm: data/smollm2/taught_results/NAME.json")
    marks.add_argument("--split", choices=("ranking", "heldout", "fresh"), default="ranking", help="ranking first")
    off = commands.add_parser("switch", help="and what switching off a score's first experts does, beside random ones")
    for command in (marks, off):
        command.add_argument(
            "--documents", type=Path, help="documents.jsonl of train_smollm2.py, for more kinds of text"
        )
    bundled = commands.add_parser("bundle", help=f"write a graded arm as data/checkpoints/{MADE}")
    commands.add_parser("store", help=f"data/checkpoints/{MADE}/store: every second ranking question, answered")
    for command in (arm, marks, off, bundled):
        command.add_argument("name", help="an arm with a seed: relevance-0, random-0, redundant-0")
    for command in (own, arm, marks, off, bundled):
        command.add_argument("folder", type=Path)
        command.add_argument("--base", default="smollm2-moe", help="smollm2-moe as an HF folder; else the bundled one")
        command.add_argument("--threads", type=int, default=1)
    return parser


def _answers(given: argparse.Namespace) -> None:
    model, tokenizer = dense_model(None)
    write_answers(model.to(quicker()), tokenizer, given.folder / "answers.jsonl")


def _arm(given: argparse.Namespace) -> None:
    arm = arm_named(given.name)
    recipe = Recipe(**{name: getattr(given, name, arm.seed) for name in vars(Recipe())})
    model, tokenizer = opened(given.base)
    dense = dense_model(None)[0].to(quicker())
    teach(arm, recipe, model, tokenizer, given.folder, lambda ids: dense.model(ids, use_cache=False).last_hidden_state)


def _grade(given: argparse.Namespace) -> None:
    grade(arm_named(given.name), given.base, given.folder, given.split, given.documents)


def _switch(given: argparse.Namespace) -> None:
    switch(arm_named(given.name), given.base, given.folder, given.documents)


def _bundle(given: argparse.Namespace) -> None:
    folder = given.folder / arm_named(given.name).name
    made: dict[str, Any] = json.loads((folder / "made.json").read_text("utf-8"))
    base = checkpoint_named("smollm2-moe")
    into = HERE / "checkpoints" / MADE
    bundle(base, load_file(folder / "taught.safetensors"), given.name, made["carriers"], into)
    layers = sum(name.endswith(".groups") for name in read_additions(base).tensors)
    wheel = f"{base.wheel.package} {base.wheel.version}"
    (into / "README.md").write_text(card(given.name, results(), wheel, layers * base.experts), encoding="utf-8")


if __name__ == "__main__":
    main()
