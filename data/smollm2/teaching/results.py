"""An arm's results as a file that is kept: the ranking split first, then the held-out one."""

import json
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from workbench import MoEModel, load
from workbench.anatomy import parse_experts
from workbench.checkpoints import checkpoint_named, prepared

from .arms import Arm
from .finding import found
from .marking import Pair, grades, text_lost
from .merging import put_into
from .switching import switched
from .upper import Expert

RESULTS = Path(__file__).resolve().parents[1] / "taught_results"


def grade(arm: Arm, base: str, folder: Path, split: str, documents: Path | None) -> None:
    """Writes taught_results/NAME.json; `SystemExit` for another split while the ranking split is not graded."""
    path = RESULTS / f"{arm.name}.json"
    if split != "ranking" and not path.exists():
        raise SystemExit(f"{path} is missing: grade the ranking split of {arm.name} first, then another.")
    made = json.loads((folder / arm.name / "made.json").read_text("utf-8"))
    pair = _opened(base, folder, arm)
    carriers, halves = _experts(made["carriers"]), [_experts(half) for half in made["halves"]]
    result: dict[str, Any] = dict(made) if split == "ranking" else json.loads(path.read_text("utf-8"))
    result[split] = grades(pair, split, carriers, halves)
    if split == "ranking":
        result["text"] = text_lost(pair, documents)
        states = {"taught": (pair.taught, pair.own), "untaught": (pair.untaught, pair.common)}
        result["found"] = {state: found(model, at / "store", carriers) for state, (model, at) in states.items()}
    _write(path, result)


def switch(arm: Arm, base: str, folder: Path, documents: Path | None) -> None:
    """Adds to taught_results/NAME.json what switching off a score's first experts does; both splits are graded before."""
    path = RESULTS / f"{arm.name}.json"
    result: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    if "heldout" not in result:
        raise SystemExit(f"{path} has no held-out split: grade both splits of {arm.name} first.")
    taught = _opened(base, folder, arm).taught
    result["switched"] = switched(taught, folder / arm.name, documents)
    _write(path, result)


def _write(path: Path, result: dict[str, Any]) -> None:
    RESULTS.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def _opened(base: str, folder: Path, arm: Arm) -> Pair:
    source = base if Path(base).is_dir() else prepared(checkpoint_named(base))
    taught, untaught = (load(str(source)) for _ in range(2))  # float32, as whoever loads it by name has it
    put_into(taught.hf, load_file(folder / arm.name / "taught.safetensors"))
    again: MoEModel = load(
        taught.hf, taught.tokenizer
    )  # what is steered is checked against the weights that it was loaded with
    return Pair(again, untaught, folder / arm.name, folder)


def _experts(names: str) -> list[Expert]:
    return [(ref.layer, ref.expert) for ref in parse_experts(names)]
