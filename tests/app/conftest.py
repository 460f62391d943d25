"""A terminal of a width that is known."""

from collections.abc import Iterator

import pytest
from workbench_app.terminal.printing import console


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A terminal of 160 columns."""
    monkeypatch.setenv("COLUMNS", "160")
    console.cache_clear()
    yield
    console.cache_clear()
