"""Grade the trained seeds and arms: `grade DIR NAME...`, then `choose`, commit choice.json, then `confirm DIR`.

`grade` reads the ranking split alone. `choose` picks model, score, n and edit from those grades. `confirm` refuses to
read the held-out split before data/demo-model/choice.json is committed.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from grading.choice import choose, committed  # noqa: E402 - found beside this script, not installed
from grading.measure import grade_arm  # noqa: E402

CHOICE = HERE / "demo-model" / "choice.json"
RESULTS = HERE / "results"


def main(arguments: list[str] | None = None) -> None:
    """Command line of the grading."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=["grade", "choose", "confirm"])
    parser.add_argument("models", type=Path, nargs="?", help="folder with SEED-base and SEED-ARM folders")
    parser.add_argument("names", nargs="*", help="SEED-ARM; all of them if none is named")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    if given.command == "choose":
        _write(CHOICE, choose(_grades()))
    elif given.command == "grade":
        for name in given.names or _arms(given.models):
            _grade(given.models, name, "ranking", RESULTS / "ranking")
    else:
        if not committed(CHOICE):
            sys.exit("data/demo-model/choice.json is not committed; commit it before the held-out split is read.")
        for name in given.names or _arms(given.models):
            _grade(given.models, name, "heldout", RESULTS / "heldout")


def _grade(models: Path, name: str, split: str, into: Path) -> None:
    base = models / f"{name.split('-')[0]}-base"
    _write(into / f"{name}.json", grade_arm(models / name, base, split, everything=split == "ranking"))
    print(f"graded {name} on {split}", flush=True)


def _arms(models: Path) -> list[str]:
    return sorted(folder.name for folder in models.iterdir() if folder.is_dir() and not folder.name.endswith("-base"))


def _grades() -> dict[str, Any]:
    return {file.stem: json.loads(file.read_text("utf-8")) for file in sorted((RESULTS / "ranking").glob("*.json"))}


def _write(file: Path, value: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
