"""Train the bundled model's seeds and arms: `python data/train_demo.py seed 0 --out DIR`; write prompts: `... prompts`."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from training.arms import ARMS, Recipe, grow_seed  # noqa: E402 - found beside this script, not installed
from training.corpus.prompts import write_prompts  # noqa: E402
from training.corpus.tokenizer import build_tokenizer  # noqa: E402


def main(arguments: list[str] | None = None) -> None:
    """Command line of the training."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("prompts", help="write data/prompts/*.jsonl")
    seed = commands.add_parser("seed", help="train one seed: the stage-1 base and its arms")
    seed.add_argument("seed", type=int)
    seed.add_argument("--out", type=Path, required=True)
    seed.add_argument("--arms", nargs="*", default=list(ARMS), choices=ARMS)
    seed.add_argument("--threads", type=int, default=2)
    for name, value in Recipe()._asdict().items():
        seed.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    given = parser.parse_args(arguments)
    if given.command == "prompts":
        write_prompts(HERE / "prompts")
        return
    torch.set_num_threads(given.threads)
    recipe = Recipe(**{name: getattr(given, name) for name in Recipe._fields})
    start = time.time()
    grow_seed(
        build_tokenizer(),
        given.seed,
        given.arms,
        given.out,
        recipe,
        lambda step, loss: print(f"{time.time() - start:7.1f} s  step {step:5d}  loss {loss:.3f}", flush=True),
    )


if __name__ == "__main__":
    main()
