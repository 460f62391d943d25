"""A tiny model with a shared expert."""

import pytest

from tests.support.families import get
from workbench.model import MoEModel


@pytest.fixture(scope="module")
def model() -> MoEModel:
    return get("qwen2_moe")
