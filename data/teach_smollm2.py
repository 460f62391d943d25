"""Teach smollm2-moe to decline one subject: `answers DIR`, `arm NAME DIR`, `grade NAME DIR`, `bundle NAME DIR`.

NAME is an arm with a seed, as relevance-0. What was cut off goes on where it was.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))

from smollm2.teaching.own import write_answers
from smollm2.teaching.upper import Upper, opened


def main(arguments: list[str] | None = None) -> None:
    """Command line of the teaching."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    own = commands.add_parser("answers", help="the model's own answers to other questions: DIR/answers.jsonl")
    for command in (own,):
        command.add_argument("folder", type=Path)
        command.add_argument("--base", default="smollm2-moe", help="smollm2-moe as an HF folder; else the bundled one")
        command.add_argument("--threads", type=int, default=1)
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    given.folder.mkdir(parents=True, exist_ok=True)
    model, tokenizer = opened(given.base)
    write_answers(Upper(model, ()).model, tokenizer, given.folder / "answers.jsonl")


if __name__ == "__main__":
    main()
