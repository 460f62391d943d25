"""Run as a script by test_experiment_resume.py: a recipe killed again and again, in processes forked from one loaded model.

    python -m tests.app.experiments.kill_experiments FOLDER SEED

Each life of the run is a forked child. Some are killed after a random number of forwards and a random pause; the others wait
(patched in here, not in the product) before or after the renaming of a file of a certain part of the run, and are killed there.
"""

import json
import os
import random
import sys
from pathlib import Path
from typing import Any, NamedTuple

import torch
from workbench_app.experiments.recipe import Recipe
from workbench_app.experiments.run import run_recipe

from tests.support.killing import count_forwards, ended_well, forked, kill_when, wait_for_death
from tests.support.recipes import MODEL, make_recipe
from workbench.loading import load
from workbench.model import MoEModel


class Moment(NamedTuple):
    """When a life ends: after so many forwards, or at the nth rename (before or after it) of a file of a part."""

    part: str
    nth: int
    after: bool = False


def moments(draw: random.Random) -> list[Moment]:
    """In an order in which each can come: planning, capture, ranking, units, tables."""
    forwards = [Moment("forwards", draw.randint(a, b)) for a, b in [(1, 3), (4, 6)]]
    begun = [Moment("plan.json", 1), Moment("stores", 1), Moment("stores", draw.randint(2, 4), True)]
    ranked = [Moment("-scores-", 1), Moment("-arms", 1), Moment("-arms", 1, True)]
    halfway = [Moment("forwards", draw.randint(2, 30)) for _ in range(6)]
    units = [Moment("units", draw.randint(1, 8), bool(i % 2)) for i in range(6)]
    tables = [Moment("tables", n, after) for n, after in [(1, False), (draw.randint(2, 9), True), (10, False)]]
    mixed = halfway + units
    draw.shuffle(mixed)
    return [*forwards, *begun, *ranked, *mixed, *tables]


def pause_at(moment: Moment, marker: Path) -> None:
    """From the nth rename of such a file on, the run says so and waits to be killed."""
    rename, seen = os.replace, [0]

    def replace(source: Any, target: Any) -> None:
        seen[0] += moment.part in str(Path(target).relative_to(marker.parent))
        reached = seen[0] >= moment.nth
        if moment.after:
            rename(source, target)
        if reached:
            wait_for_death(marker)
        if not moment.after:
            rename(source, target)

    os.replace = replace


def run(recipe: Recipe, model: MoEModel, out: Path) -> None:
    run_recipe(recipe, out, progress=False, open_model=lambda _: model, own_functions=True)


def life(
    recipe: Recipe, model: MoEModel, out: Path, number: int, moment: Moment, draw: random.Random
) -> dict[str, Any]:
    """One life: begun, killed, and what was there by then."""
    forwards, marker = out.with_name(f"forwards{number}"), out.with_name(f"paused{number}")
    forwards.touch()

    def work() -> None:
        count_forwards(model, forwards)
        if moment.part != "forwards":
            pause_at(moment, marker)
        run(recipe, model, out)

    pid = forked(work)
    kill_when(
        pid,
        lambda: marker.exists() or (moment.part == "forwards" and forwards.stat().st_size >= moment.nth),
        lambda: 0 if marker.exists() else draw.random() * 0.03,
        f"the run ({number}: {moment})",
    )
    return {"moment": moment, "units": count(out, "units/*"), "tables": count(out, "tables/*")}


def count(out: Path, pattern: str) -> int:
    return len(list(out.glob(pattern)))


def main(folder: Path, seed: int) -> None:
    torch.set_num_threads(1)
    model, draw, recipe = load(MODEL, check=False), random.Random(seed), make_recipe(folder / "prompts")
    killed, whole, rest = folder / "killed", folder / "whole", folder / "rest"
    lives = [life(recipe, model, killed, i, moment, draw) for i, moment in enumerate(moments(draw))]
    rest.touch()
    report = {"lives": lives, "whole": ended_well(forked(lambda: run(recipe, model, whole)))}
    report["finished"] = ended_well(forked(lambda: run(recipe, model, killed)))

    def again() -> None:
        count_forwards(model, rest)
        run(recipe, model, killed)

    report |= {"again": ended_well(forked(again)), "forwards_again": rest.stat().st_size}
    (folder / "report.json").write_text(json.dumps(report))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
