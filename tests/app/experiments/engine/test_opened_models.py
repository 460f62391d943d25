"""A recipe's models: opened once, as it says, and let go for the next."""

from typing import Any

import pytest
from workbench_app.experiments import run as running
from workbench_app.experiments.recipe import recipe_from
from workbench_app.experiments.run import Models

from tests.app.experiments.made import RECIPE


def test_a_model_is_opened_once_and_let_go_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.hooks.as_it_is", lambda model: f"{model} as it is")
    opened: list[str] = []
    recipe = recipe_from(RECIPE | {"models": ["a", "b"]})
    models = Models(recipe, lambda source: opened.append(source.source) or source.source)  # pyright: ignore[reportArgumentType]
    assert [models(0), models(0), models(1), models(1), models(0)] == [
        f"{n} as it is" for n in ("a", "a", "b", "b", "a")
    ]
    assert opened == ["a", "b", "a"]
    assert len(models.held) == 1


def test_a_source_is_opened_with_what_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr("workbench_app.terminal.open_model", lambda *given, **hub: asked.append((given, hub)))
    plain, full = recipe_from(
        RECIPE | {"models": ["a", {"source": "b", "dtype": "x", "device": "y", "revision": "r", "device_map": "auto"}]}
    ).models
    running.open_source(plain)
    running.open_source(full)
    assert asked == [(("a", "auto", "auto"), {}), (("b", "y", "x"), {"device_map": "auto", "revision": "r"})]
