"""Train what smollm2-moe adds to its dense model: `documents DIR`, then `arm NAME DIR` for each arm.

The card's figures come from the arms. A core with matrix units for bfloat16 reads a million tokens in 70 minutes, one
without in 140; two cores share an arm as `torchrun --nproc-per-node 2 data/train_smollm2.py arm NAME DIR`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).resolve().parent))

from smollm2.arms import ADDITIONS, ARMS, ASKED, BEGUN, CHAT, KNOWN, Arm, dense_model
from smollm2.bundling import average, bundle, declined, measure, write_card
from smollm2.conversations import GIVEN, LONGER, SHORT, answered, conversations
from smollm2.documents import documents
from smollm2.packages import unpacked
from smollm2.questions import known_part, part

from workbench.factorization.distilling import additions, distil, first, joined
from workbench.progress import ProgressLines

TALKS = 5
"""Conversations of a document, twice or four times as many where they are short: one alone is shorter than a row."""


def main(arguments: list[str] | None = None) -> None:
    """Command line of the training."""
    given = _parser().parse_args(arguments)
    torch.set_num_threads(getattr(given, "threads", 1))
    {
        "documents": lambda: _write_documents(given.folder),
        "talk": lambda: _write_talk(given.dense, given.seed),
        "arm": lambda: _arm(given),
        "average": lambda: average(_of(given)),
        "measure": lambda: measure(_of(given), given.routings),
        "bundle": lambda: bundle(_of(given)),
        "declined": lambda: declined(given.name),
        "card": lambda: write_card(given.name),
    }[given.command]()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    text = commands.add_parser("documents", help="fetch the packages: DIR/documents.jsonl")
    talk = commands.add_parser(
        "talk",
        help="draw a batch of conversations: chat/, from seed 4 on begun/, from 10 on asked/, from 20 on known/",
    )
    talk.add_argument("seed", type=int, help="those of 0, 1, 3 and 4 to 29 are kept")
    arm = commands.add_parser("arm", help="train one arm: DIR/NAME")
    arm.add_argument("--tokens", type=int, default=1_000_000)
    figures = commands.add_parser("measure", help="the arm's curve and losses: data/smollm2/results/NAME.json")
    figures.add_argument(
        "--routings", action="store_true", help="and on text held out, beside other routings (minutes)"
    )
    evened = commands.add_parser("average", help="an arm that is the mean of others: DIR/NAME")
    bundled = commands.add_parser("bundle", help="write a measured arm as data/checkpoints/smollm2-moe")
    written = commands.add_parser("card", help="write the card of the bundled arm again")
    politely = commands.add_parser("declined", help="what the bundled arm declines of the questions in taught/")
    for command in (arm, figures, evened, bundled, written, politely):
        command.add_argument("name", choices=ARMS)
    for command in (text, arm, figures, evened, bundled):
        command.add_argument("folder", type=Path)
    for command in (talk, arm, figures, evened, bundled):
        command.add_argument("--dense", type=Path, help="the dense model as an HF folder; else it is fetched")
        command.add_argument("--threads", type=int, default=1)
    return parser


def _of(given: argparse.Namespace) -> Arm:
    return Arm(given.name, given.folder, given.dense)


def _arm(given: argparse.Namespace) -> None:
    joined()
    _train(_of(given), given.tokens)


def batched(things: Iterable[str], size: int) -> Iterator[tuple[str, ...]]:
    """Tuples of so many of them; the last may be shorter."""
    it = iter(things)
    while few := tuple(islice(it, size)):
        yield few


def _write_documents(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "documents.jsonl").open("w", encoding="utf-8") as file:
        for document in documents(unpacked(folder / "packages")):
            file.write(json.dumps(document._asdict()) + "\n")


def _write_talk(dense: Path | None, seed: int) -> None:
    """One batch; batches may be drawn by several processes at once, a core each."""
    model, tokenizer = dense_model(dense)
    model = model.bfloat16()
    given = seed >= GIVEN
    asked = known_part(seed - LONGER) if seed >= LONGER else part(seed - GIVEN)
    ids = answered(model, tokenizer, asked, seed) if given else conversations(model, tokenizer, seed)
    talks = [tokenizer.decode(one) for one in ids]
    folder, few_of = _kept(seed)
    with (folder / f"{seed:02}.jsonl").open("w", encoding="utf-8") as file:
        for few in batched(talks, few_of):
            file.write(json.dumps({"kind": folder.name, "text": "".join(few)}) + "\n")


def _kept(seed: int) -> tuple[Path, int]:
    """The folder of a batch, and how many of its conversations are a document."""
    if seed >= GIVEN:
        return (KNOWN, 2 * TALKS) if seed >= LONGER else (ASKED, 4 * TALKS)
    return (CHAT, TALKS) if seed < SHORT else (BEGUN, 2 * TALKS)


def _train(arm: Arm, tokens: int) -> None:
    counts = {kind: len(rows) for kind, rows in arm.rows.learnt.items()}
    print(f"\n{arm.rows.tokens:,} distinct tokens: {counts} rows", flush=True)
    distil(arm.student, arm.rows, arm.recipe, tokens, arm.folder, report=ProgressLines(), said=_say)
    if first() and arm.recipe.rank is not None:
        save_file(additions(arm.student, arm.found), arm.folder / ADDITIONS)


def _say(line: dict[str, Any]) -> None:
    losses = " ".join(f"{kind}/{k} {nats:+.3f}" for kind, k, nats in line.get("held_out", []))
    print(f"{line['tokens']:,} tokens: {line['nats']} {losses}", flush=True)


if __name__ == "__main__":
    main()
