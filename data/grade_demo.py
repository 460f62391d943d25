"""Grade the trained seeds and arms.

In this order: `grade DIR`, `finalists DIR`, `choose`, commit choice.json, `confirm DIR`, `reinforce`, `card`.
`grade` and `finalists` read the ranking split alone; `choose` picks model, score, n and edit from what they measured;
`confirm` refuses to read the held-out split before data/demo-model/choice.json is committed.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch
from transformers import Qwen3MoeForCausalLM

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from grading.card import card  # noqa: E402 - found beside this script, not installed
from grading.choice import choose, committed, finalists  # noqa: E402
from grading.confirm import confirm_choice  # noqa: E402
from grading.measure import confirm_arm, grade_arm, measure_finalists  # noqa: E402
from grading.reinforce import reinforced  # noqa: E402
from training.arms import ARMS  # noqa: E402
from training.corpus.tasks import DOCUMENT_WINS, SOMETIMES  # noqa: E402

CHOICE = HERE / "demo-model" / "choice.json"
RESULTS = HERE / "results"


def main(arguments: list[str] | None = None) -> None:
    """Command line of the grading."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=["grade", "finalists", "choose", "confirm", "reinforce", "card"])
    parser.add_argument("models", type=Path, nargs="?", help="folder with SEED-base and SEED-ARM folders")
    parser.add_argument("names", nargs="*", help="SEED-ARM; all of them if none is named")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    if given.command == "card":
        write_card()
        return
    names = given.names or (_arms(given.models) if given.models else [])
    if given.command == "choose":
        _write(CHOICE, choose(_read("finalists.json")))
    elif given.command == "reinforce":
        _write(RESULTS / "reinforced.json", reinforced(CHOICE.parent))
    elif given.command == "finalists":
        grades = _grades("ranking")
        _write(RESULTS / "finalists.json", measure_finalists(given.models, finalists(grades), grades))
    elif given.command == "grade":
        for name in names:
            _keep(
                RESULTS / "ranking", name, grade_arm(given.models / name, given.models / f"{name.split('-')[0]}-base")
            )
    else:
        if not committed(CHOICE):
            sys.exit("data/demo-model/choice.json is not committed; commit it before the held-out split is read.")
        choice = json.loads(CHOICE.read_text("utf-8"))
        if not given.names:
            _write(RESULTS / "lessons.json", lessons(given.models))
            _write(RESULTS / "confirmed.json", confirm_choice(given.models / choice["model"], choice))
        for name in names:
            _keep(RESULTS / "heldout", name, confirm_arm(given.models / name))


def write_card() -> None:
    """Write data/demo-model/README.md from the results."""
    config = json.loads((CHOICE.parent / "config.json").read_text("utf-8"))
    text = card(
        config,
        _grades("ranking"),
        _grades("heldout"),
        _read("confirmed.json"),
        {**_read("lessons.json"), "reinforced": _read("reinforced.json")},
        _grades("which"),
    )
    (CHOICE.parent / "README.md").write_text(text, encoding="utf-8")


def lessons(models: Path) -> dict[str, Any]:
    """What the card says of the making beside the grades."""
    bases = {
        folder.name: json.loads((folder / "implant.json").read_text("utf-8"))
        for folder in sorted(models.glob("*-base"))
    }
    return {
        "base_cpu_seconds": {name: known["cpu_seconds"] for name, known in bases.items()},
        "parameters": sum(
            p.numel() for p in Qwen3MoeForCausalLM.from_pretrained(models / next(iter(bases))).parameters()
        ),
        "sometimes": SOMETIMES,
        "document_wins": DOCUMENT_WINS,
    }


def _keep(into: Path, name: str, value: Any) -> None:
    _write(into / f"{name}.json", value)
    print(f"{into.name} {name}", flush=True)


def _arms(models: Path) -> list[str]:
    return sorted(folder.name for folder in models.iterdir() if folder.is_dir() and folder.name.split("-")[1] in ARMS)


def _grades(split: str) -> dict[str, Any]:
    return {file.stem: json.loads(file.read_text("utf-8")) for file in sorted((RESULTS / split).glob("*.json"))}


def _read(name: str) -> Any:
    return json.loads((RESULTS / name).read_text("utf-8"))


def _write(file: Path, value: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(value, indent=1 if file == CHOICE else None) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
