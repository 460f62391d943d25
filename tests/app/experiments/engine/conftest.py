"""The small recipe, read once for a file of tests."""

import pytest
from workbench_app.experiments.recipe import Recipe

from tests.support.recipes import make_recipe


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    return make_recipe(tmp_path_factory.mktemp("prompts"))
