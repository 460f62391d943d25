"""Hold every score against known carriers and measured effects: `measure DIR [ARM ...]`, `real PACKAGES`, then `page`.

DIR holds the seeds and arms that train_demo.py trains. What was measured of the same weights is not measured again.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from predicting.measuring import measure, sha256_of  # noqa: E402 - found beside this script, not installed
from predicting.page import page  # noqa: E402
from predicting.real import measure as measure_real  # noqa: E402
from smollm2.packages import unpacked  # noqa: E402
from training.arms import ARMS  # noqa: E402

RESULTS = HERE / "results" / "which"
REAL, MODEL = HERE / "results" / "which-real", "smollm2-moe"
PAGE = HERE.parent / "docs" / "which-score.md"


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    measured = commands.add_parser("measure", help="data/results/which/ARM.json and .parquet")
    measured.add_argument("models", type=Path, help="folder with SEED-base and SEED-ARM folders")
    measured.add_argument("names", nargs="*", help="SEED-ARM; all of them if none is named")
    measured.add_argument("--threads", type=int, default=1)
    real = commands.add_parser(
        "real", help="data/results/which-real: smollm2-moe's experts off one by one, on held-out text"
    )
    real.add_argument("packages", type=Path, help="folder for the packages of text; what lacks is fetched with apt-get")
    real.add_argument("--threads", type=int, default=2)
    commands.add_parser("page", help="docs/which-score.md")
    given = parser.parse_args(arguments)
    if given.command == "page":
        PAGE.write_text(page(results(), real_figures()), encoding="utf-8")
        return
    torch.set_num_threads(given.threads)
    if given.command == "real":
        measure_real(MODEL, unpacked(given.packages), REAL)
        return
    arms = given.names or sorted(f.name for f in given.models.iterdir() if f.name.split("-")[-1] in ARMS)
    for name in arms:
        if results().get(name, {}).get("sha256") != sha256_of(given.models / name):
            measure(given.models / name, given.models / f"{name.split('-')[0]}-base", RESULTS)
        print(name, flush=True)


def results() -> dict[str, dict[str, object]]:
    """By arm."""
    return {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(RESULTS.glob("*.json"))}


def real_figures() -> dict[str, object] | None:
    """What was measured of the real model; None as long as that is not done."""
    path = REAL / f"{MODEL}.json"
    found = json.loads(path.read_text("utf-8")) if path.exists() else {}
    return found if "kinds" in found else None


if __name__ == "__main__":
    main()
