"""Every test here has a cache folder, and a package index, of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.workbench.checkpoints.world import Index, serving
from workbench.checkpoints.index import Pip


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    """The index that pip, which is not asked, would be set up with."""
    with serving(Index()) as running:
        monkeypatch.setattr(Pip, "asked", lambda: Pip((running.url,)))
        yield running
