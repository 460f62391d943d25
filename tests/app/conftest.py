"""A terminal of a width that is known."""

from collections.abc import Iterator

import pytest
from workbench_app import terminal


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A terminal of 160 columns."""
    monkeypatch.setenv("COLUMNS", "160")
    terminal.console.cache_clear()
    yield
    terminal.console.cache_clear()
