"""`make mutants`: plants mistakes by hand and by seed, and prints which the tests notice. Exit code 1 below the shares.

    python -m tests.mutants [--seeds 11 12] [--drawn 50] [--out runs/mutants] [--only probes/] [--no-by-hand]

It reads the last commit, never the working tree. First the suite runs once to learn which tests run which lines (kept by
commit). A mistake with which no test can even run (a name that is missing, a wrong type) is drawn again: nobody could make it
unnoticed. What survives is printed with its line: mend the tests, or say in equivalent.toml why nobody can see a difference.
"""

import argparse
import os
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from tests.mutants.by_hand import by_hand, equivalent, line_of
from tests.mutants.checkout import checkout, commit
from tests.mutants.covering import Covering, read_covering
from tests.mutants.drawn import draw
from tests.mutants.mutant import Mutant
from tests.mutants.running import Outcome, run

SHARES = {"by hand": 0.95, "drawn": 0.85}  # of those that can be noticed
Found = list[tuple[Mutant, Outcome]]


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="*", default=[11])
    parser.add_argument("--drawn", type=int, default=50, help="how many a seed")
    parser.add_argument("--out", type=Path, default=Path("runs/mutants"))
    parser.add_argument("--only", default="", help="files whose path contains this text")
    parser.add_argument("--covering", type=Path, help="the map of another commit with the same product")
    parser.add_argument("--no-by-hand", action="store_true")
    parser.add_argument("--workers", type=int, default=2)
    return parser.parse_args()


def covered(folder: Path, workers: int) -> Covering:
    """The map of this commit, learnt where it is not there."""
    tree, kept = checkout(folder / "tree0").resolve(), folder.resolve() / "covering"
    if not (kept / "done").exists():
        kept.mkdir(parents=True, exist_ok=True)
        print("Learning which tests run which lines: the whole suite once, under a tracer.", flush=True)
        surroundings = {**os.environ, "PYTHONPATH": str(tree), "WORKBENCH_COVERING": str(kept)}
        surroundings |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        suite = ["-m", "pytest", "-q", "-n", str(workers), "--dist", "worksteal", "-m", "not gpu and not browser"]
        suite += ["-p", "tests.mutants.covering", "--deselect", "tests/mutants"]
        subprocess.run([sys.executable, *suite], cwd=tree, env=surroundings, check=False)
        (kept / "done").touch()
    return read_covering(kept, tree)


def drawn(
    seed: int, how_many: int, covering: Covering, folder: Path, workers: int, only: str = ""
) -> Iterator[tuple[Mutant, Outcome]]:
    """As many mutants of the seed as asked that the tests can run with; those that end every test are drawn again."""
    known, kept = equivalent(), 0
    candidates = (m for m in draw(seed) if only in m.file and line_of(m) not in known)
    while kept < how_many and (some := list(islice(candidates, how_many - kept))):
        for mutant, outcome in run(some, lambda m: covering.of(m.file, m.lines()), folder, workers):
            kept += outcome.outcome != "crashed"
            yield mutant, outcome


def _watched(found: Iterator[tuple[Mutant, Outcome]], total: int, what: str) -> Found:
    start, all_of_them = time.monotonic(), Found()
    for mutant, outcome in found:
        all_of_them.append((mutant, outcome))
        passed = time.monotonic() - start
        left = passed / len(all_of_them) * max(0, total - len(all_of_them))
        print(f"{what} {len(all_of_them)}/{total} {outcome.outcome:9} {mutant.file}:{mutant.line()} {mutant.kind} "
              f"({passed / 60:.1f} min, about {left / 60:.1f} left)", flush=True)  # fmt: skip
    return all_of_them


def _table(title: str, found: Found) -> float:
    """Prints how they ended, by kind, and every one that was not caught; returns the share that was."""
    by_kind: dict[str, Counter[str]] = defaultdict(Counter)
    for mutant, outcome in found:
        by_kind[mutant.kind][outcome.outcome] += 1
    total = sum(by_kind.values(), Counter())
    able = sum(total.values()) - total["crashed"]
    print(f"\n{title}: {total['caught']} of {able} caught ({total['caught'] / max(1, able):.0%}); all: {dict(total)}")
    for kind, n in sorted(by_kind.items()):
        print(f"  {kind:18} {dict(n)}")
    for mutant, outcome in found:
        if outcome.outcome not in ("caught", "crashed") or (mutant.kind == "by hand" and outcome.outcome == "crashed"):
            _, old, new = line_of(mutant)
            print(f"  {outcome.outcome} ({outcome.tests} tests) {mutant.file}:{mutant.line()} {mutant.kind}")
            print(f"    - {old}\n    + {new}")
    return total["caught"] / max(1, able)


def main() -> int:
    """Plants them all."""
    asked = _asked()
    folder = asked.out / commit()
    folder.mkdir(parents=True, exist_ok=True)
    shares = list[tuple[str, float]]()
    if not asked.no_by_hand:
        chosen = [m for m in by_hand() if asked.only in m.file]
        found = _watched(iter(run(chosen, lambda m: list(m.tests), folder, asked.workers)), len(chosen), "by hand")
        shares.append(("by hand", _table("By hand", found)))
    if asked.seeds and asked.drawn:
        covering = (
            read_covering(asked.covering, asked.covering.parent / "tree0")
            if asked.covering
            else covered(folder, asked.workers)
        )
        for seed in asked.seeds:
            mutants = drawn(seed, asked.drawn, covering, folder, asked.workers, asked.only)
            found = _watched(mutants, asked.drawn, f"seed {seed}")
            shares.append(("drawn", _table(f"Drawn by seed {seed}", found)))
    return int(any(share < SHARES[kind] for kind, share in shares))


if __name__ == "__main__":
    sys.exit(main())
