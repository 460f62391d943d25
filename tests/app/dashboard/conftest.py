"""What the dashboard's tests look at, for those that need a store."""

from pathlib import Path

import pytest

from tests.app.world import store_at
from workbench import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Two short answers in the store stores/one of the project `tmp_path`."""
    return store_at(tmp_path / "stores" / "one")
