"""A checkout of the last commit to plant mistakes in, so that nobody's working tree is ever touched."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.mutants.mutant import ROOT, Mutant

NAMES = {"workbench_app": "app", "workbench_data": "data"}  # as the installed package calls them


def commit() -> str:
    """The commit that is checked out, ten digits."""
    return subprocess.check_output(["git", "rev-parse", "--short=10", "HEAD"], cwd=ROOT, text=True).strip()


def checkout(folder: Path) -> Path:
    """A clone of the last commit in `folder`, where it is not there already; nothing in it is planted."""
    if not (folder / ".git").exists():
        subprocess.run(["git", "clone", "-q", "--shared", str(ROOT), str(folder)], check=True)
        for name, target in NAMES.items():
            (folder / name).symlink_to(target)
    subprocess.run(["git", "checkout", "-q", "--force", commit()], cwd=folder, check=True)
    return folder


@contextmanager
def planted(tree: Path, mutant: Mutant) -> Iterator[None]:
    """The mistake stands in the checkout while the block runs."""
    path = tree / mutant.file
    text = path.read_text(encoding="utf-8")
    path.write_text(mutant.applied(text), encoding="utf-8")
    try:
        yield
    finally:
        path.write_text(text, encoding="utf-8")
