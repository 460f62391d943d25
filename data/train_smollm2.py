"""Train what smollm2-moe adds to its dense model: `documents DIR`, `talk SEED DIR` (0 to 3), then `arm NAME DIR` for each arm.

The card's figures come from the arms. A core with bfloat16 products reads a million tokens in about an hour.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from smollm2.conversations import conversations  # noqa: E402 - found beside this script, not installed
from smollm2.documents import documents  # noqa: E402
from smollm2.packages import unpacked  # noqa: E402

from workbench.factorization import Sizes, fitted  # noqa: E402
from workbench.factorization.distilling import Document, Recipe, distil, rows_of, student_of  # noqa: E402
from workbench.progress import ProgressLines  # noqa: E402

SHARED = 4
RECIPE = Recipe(ks=(20, 20, 20, 12, 12))
ARMS = {
    "rank8": (SHARED, RECIPE),
    "rank11": (SHARED, replace(RECIPE, rank=11)),
    "shared8": (8, replace(RECIPE, ks=(16, 16, 16, 8, 8))),
    "fast": (SHARED, replace(RECIPE, rate=4e-3, router_rate=8e-4)),
    "balanced": (SHARED, replace(RECIPE, balance=1e-4)),
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
    arm.add_argument("name", choices=ARMS)
    arm.add_argument("--tokens", type=int, default=1_000_000)
    for command in (text, talk, arm):
        command.add_argument("folder", type=Path)
    for command in (talk, arm):
        command.add_argument("--dense", type=Path, required=True, help="the dense model as an HF folder")
        command.add_argument("--threads", type=int, default=1)
    given = parser.parse_args(arguments)
    given.folder.mkdir(parents=True, exist_ok=True)
    if given.command == "documents":
        _write_documents(given.folder)
        return
    torch.set_num_threads(given.threads)
    if given.command == "talk":
        _write_talk(given.folder, given.dense, given.seed)
    else:
        _train(given.name, given.folder, given.dense, given.tokens)


def batched(things: Iterable[str], size: int) -> Iterator[tuple[str, ...]]:
    """Tuples of so many of them; the last may be shorter."""
    it = iter(things)
    while few := tuple(islice(it, size)):
        yield few


def _write_documents(folder: Path) -> None:
    with (folder / "documents.jsonl").open("w", encoding="utf-8") as file:
        for document in documents(unpacked(folder / "packages")):
            file.write(json.dumps(document._asdict()) + "\n")


def _write_talk(folder: Path, dense: Path, seed: int) -> None:
    """One batch; batches may be drawn by several processes at once, a core each."""
    model, tokenizer = _dense(dense)
    talks = [tokenizer.decode(ids) for ids in conversations(model, tokenizer, seed)]
    with (folder / f"chat-{seed:02}.jsonl").open("w", encoding="utf-8") as file:
        for few in batched(talks, TALKS):
            file.write(json.dumps({"kind": "chat", "text": "".join(few)}) + "\n")


def _train(name: str, folder: Path, dense: Path, tokens: int) -> None:
    (shared, recipe), (model, tokenizer) = ARMS[name], _dense(dense)
    lines = [line for path in sorted(folder.glob("*.jsonl")) for line in path.read_text("utf-8").splitlines()]
    rows = rows_of(tokenizer, (Document(**json.loads(line)) for line in lines))
    print(f"{rows.tokens:,} distinct tokens: { {kind: len(r) for kind, r in rows.learnt.items()} } rows")
    ks = sorted(set(recipe.ks))
    few = torch.cat([r[:FITTED_ON] for r in rows.learnt.values()])
    found = fitted(
        model.float(), few, Sizes(32, shared, ks[-1]), ks, done=lambda i: print(f"layer {i} fitted", flush=True)
    )
    student = student_of(model.bfloat16(), found, recipe.rank, seed=recipe.seed)
    distil(student, rows, recipe, tokens, folder / name, report=ProgressLines(), said=_say)


def _say(line: dict[str, Any]) -> None:
    losses = " ".join(f"{kind}/{k} {nats:+.3f}" for kind, k, nats in line["held_out"])
    print(f"{line['tokens']:,} tokens: {losses}", flush=True)


def _dense(folder: Path) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).eval()
    return model.requires_grad_(False), AutoTokenizer.from_pretrained(folder)


if __name__ == "__main__":
    main()
