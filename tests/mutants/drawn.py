"""Mistakes drawn by a seed: lines of code in proportion to what there is of it, then one operator that can be made there."""

import random
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from tests.mutants.mutant import ROOT, Mutant
from tests.mutants.operators import mutants

FOLDERS = ("workbench", "probes", "app", "data")


def places(root: Path = ROOT) -> dict[tuple[str, int], list[Mutant]]:
    """Every mistake that the operators can make, by file and line."""
    found: dict[tuple[str, int], list[Mutant]] = defaultdict(list)
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*.py")):
            file = path.relative_to(root).as_posix()
            text = path.read_text(encoding="utf-8")
            for mutant in mutants(file, text):
                found[file, text.count("\n", 0, mutant.start) + 1].append(mutant)
    return found


def draw(seed: int, root: Path = ROOT) -> Iterator[Mutant]:
    """Mutants without end, one a line: a line with equal chances, a kind of mistake with equal chances, one of that kind."""
    found, chance = places(root), random.Random(seed)
    lines = sorted(found)
    chance.shuffle(lines)
    for line in lines:
        kinds = sorted({m.kind for m in found[line]})
        kind = chance.choice(kinds)
        yield chance.choice([m for m in found[line] if m.kind == kind])
